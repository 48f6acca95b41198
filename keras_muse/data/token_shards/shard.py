"""From the rows of a shard to its records, and to the note on them."""

import hashlib
import itertools

from keras_muse.data.token_shards.encoding import CaptionTexts
from keras_muse.data.token_shards.encoding import PictureTokens
from keras_muse.data.token_shards.encoding import model_fingerprint
from keras_muse.data.token_shards.records import pack_record
from keras_muse.runtime.batches import num_replicas


class ShardEncoder:
    """The models that make tokens and text states.

    What it makes of a shard is a function of the shard's rows alone: batches
    are of one shape, do not reach over shards, and no caption is remembered
    from one to the next.

    Args:
        tokenizer, high_res_tokenizer, text_encoder, store: see
            `write_token_shards`.
        batch_size: int. Pictures, and captions, that a device takes at once.
    """

    def __init__(
        self, tokenizer, high_res_tokenizer, text_encoder, store, batch_size
    ):
        self.batch_size = batch_size * num_replicas()
        self._text_encoder = text_encoder
        self._store = store
        self._tokenizers = {"image_size": tokenizer}
        if high_res_tokenizer is not None:
            self._tokenizers["high_res_image_size"] = high_res_tokenizer
        self.pictures = [
            PictureTokens(name, model, self.batch_size)
            for name, model in self._tokenizers.items()
        ]

    def texts(self):
        return CaptionTexts(self._text_encoder, self._store, self.batch_size)

    def fingerprints(self):
        """What the models are, in the settings of a run."""
        tokenizers = [
            model_fingerprint(model, model.encoder, model.quantizer)
            for model in self._tokenizers.values()
        ]
        encoder = self._text_encoder
        # For ids alone its weights do not count, and may have been released.
        parts = [encoder] if self._store == "text_embeddings" else []
        return {
            "tokenizer": tokenizers[0],
            "high_res_tokenizer": tokenizers[1] if tokenizers[1:] else None,
            "text_encoder": model_fingerprint(encoder, *parts),
        }

    def metadata(self, tokens):
        """What readers of the shards need to know.

        Args:
            tokens: list of `"tokens"` out of the notes on all shards.
        """
        merged = []
        for pictures, found in zip(
            self.pictures, zip(*tokens, strict=True), strict=True
        ):
            known = [one for one in found if one is not None]
            # Each process knows of its own pictures only.
            for one in known:
                pictures.check_size(one["image_size"])
            merged.append(known[0])
        return {
            "low_res": merged[0],
            "high_res": merged[1] if len(merged) == 2 else None,
            "text": self.texts().metadata(),
        }


class Shard:
    """The rows of one shard on their way to records.

    Args:
        rows: iterable of rows, as `Collection.shards` gives them.
        encoder: `ShardEncoder`.
        on_rows: function, called with a number of rows that are done.
    """

    def __init__(self, rows, encoder, on_rows):
        self._rows = rows
        self._encoder = encoder
        self._on_rows = on_rows
        self._digest = RowsDigest()
        self._num_rows = 0
        self._skipped = []

    def records(self):
        """Yields bytes."""
        rows, texts = self._prepared(), self._encoder.texts()
        num_done = 0
        while batch := list(itertools.islice(rows, self._encoder.batch_size)):
            captions = [row["captions"] for row in batch]
            tokens = [
                pictures.encode(list(views))
                for pictures, views in zip(
                    self._encoder.pictures,
                    zip(*(row["views"] for row in batch), strict=True),
                    strict=True,
                )
            ]
            columns = [tokens[0], captions, texts.encode(captions), *tokens[1:]]
            for record in zip(*columns, strict=True):
                yield pack_record(*record)
            self._on_rows(self._num_rows - num_done)
            num_done = self._num_rows

    def _prepared(self):
        """The usable rows; the others are named in the note."""
        for row in self._rows:
            self._num_rows += 1
            self._digest.update(row)
            if "prepared" in row:
                yield row["prepared"]
                continue
            skipped = {"row": row["row"], "reason": row["problem"]}
            if row["name"] is not None:
                skipped["name"] = row["name"]
            self._skipped.append(skipped)

    def note(self):
        """What is to be known of the shard, after its last record."""
        return {
            "num_rows": self._num_rows,
            "skipped": self._skipped,
            "rows": self._digest.hexdigest(),
            "tokens": [
                pictures.metadata() for pictures in self._encoder.pictures
            ],
        }


class RowsDigest:
    """A hash of rows, by which they are known when they come again."""

    def __init__(self):
        self._digest = hashlib.sha256()

    def update(self, row):
        prepared = row.get("prepared")
        words = [row["row"], row["name"], row.get("problem")]
        if prepared is not None:
            words.append(prepared["captions"])
            for views in prepared["views"]:
                words.append(views.shape)
                self._digest.update(views)
        self._digest.update(repr(words).encode())

    def hexdigest(self):
        return self._digest.hexdigest()
