"""What `read_token_shards` gives to `fit`: an endless stream, cut in epochs."""

import json
import zlib

import grain
import numpy as np

from keras_muse.data.batch_stream import BatchStream
from keras_muse.data.batch_stream import share_of
from keras_muse.data.token_shards.stored import StoredRecords


class TokenDataset(BatchStream):
    """Batches of stored tokens and text, in an order fixed by a seed.

    Batch number `step` is a pure function of the seed and `step`: grain
    shuffles the records globally, anew in every pass, without a buffer. A
    Keras epoch, or a `for` loop over the data set, takes the next
    `len(dataset)` batches of this stream.

    To go on exactly where a stopped training was, give the data set to
    `keras_muse.training.Checkpoint`, or set `step` to the number of steps
    done. A model that is not of this package permutes the batches inside an
    epoch, by Python's own generator, unless its `fit` is told
    `shuffle=False`.

    Attributes:
        metadata: dict. What `metadata.json` holds.
        num_records: int.
        stage: string. `"base"` or `"super_res"`.
        step: int. The number of the batch that `dataset[0]` is.
        epoch: int. The pass over the records that `step` is in.
        stream: endless `grain.MapDataset` of the batches, for those who
            prefer grain's own iterators and checkpoints.
    """

    def __init__(
        self,
        directory,
        metadata,
        batch_size,
        stage,
        shuffle,
        seed,
        steps_per_epoch,
        drop_remainder,
        text_encoder,
        process_index,
        process_count,
    ):
        self.metadata = metadata
        self.num_records = metadata["num_records"]
        self.stage = stage
        self._batch_size = batch_size
        self._drop_remainder = drop_remainder
        self.shuffle = bool(shuffle)
        self._seed = seed
        self._text_encoder = text_encoder
        self._process = process_index, process_count
        self._records = StoredRecords(directory, metadata)
        order = grain.MapDataset.range(self.num_records)
        if shuffle:
            order = order.shuffle(seed)
        order = order.batch(batch_size, drop_remainder=drop_remainder)
        self._steps_per_pass = len(order)
        self.stream = order.repeat().map_with_index(self._read_batch)
        super().__init__(steps_per_epoch or self._steps_per_pass)

    @property
    def epoch(self):
        return self.step // self._steps_per_pass

    @property
    def identity(self):
        return {
            "num_records": self.num_records,
            "shards": zlib.crc32(json.dumps(self.metadata["shards"]).encode()),
            "tokens": self.metadata["low_res"],
            "high_res_tokens": self.metadata["high_res"],
            "text": self.metadata["text"],
            "stage": self.stage,
            "batch_size": self._batch_size,
            "drop_remainder": self._drop_remainder,
            "shuffle": self.shuffle,
            "seed": self._seed,
            "steps_per_epoch": self.steps_per_epoch,
        }

    def batch(self, step):
        return self.stream[step]

    def __iter__(self):
        first = self.step
        for index in range(len(self)):
            yield self.stream[first + index]
        self.step = first + len(self)

    def _read_batch(self, step, indices):
        indices = share_of(indices, self._process)
        # Without shuffling nothing changes from pass to pass: evaluation.
        epoch = step // self._steps_per_pass if self.shuffle else 0
        records = self._records.read([int(i) for i in indices])
        rows = [
            self._draw_view(record, epoch, int(i))
            for record, i in zip(records, indices, strict=True)
        ]
        batch = {
            name: np.stack([row[name] for row in rows]).astype("int32")
            for name in rows[0]
            if name != "text"
        }
        return {**batch, **self._text_batch([row["text"] for row in rows])}

    def _draw_view(self, record, epoch, index):
        """One view and one caption of a record, fixed by seed and epoch."""
        counter = [self._seed, epoch, index]
        view, caption = np.random.SeedSequence(counter).generate_state(2)
        view %= len(record["token_ids"])
        row = {"token_ids": record["token_ids"][view]}
        if self.stage == "super_res":
            row["low_res_token_ids"] = row["token_ids"]
            row["token_ids"] = record["high_res_token_ids"][view]
        row["text"] = record["texts"][caption % len(record["texts"])]
        return row

    def _text_batch(self, texts):
        """Pads texts to the encoder's length, encoding ids on the way."""
        ends = np.array([len(text) for text in texts])
        # CLIP makes more rows than tokens, of every text as many.
        length = max(self.metadata["text"]["sequence_length"], *ends)
        text_mask = np.arange(length) < ends[:, None]  # (batch, text_length)
        if self.metadata["text"]["store"] == "text_ids":
            ids = np.zeros(text_mask.shape, "int32")
            ids[text_mask] = np.concatenate(texts)
            embeddings = self._text_encoder.predict_on_batch(
                {"token_ids": ids, "padding_mask": text_mask}
            )
            text_mask = self._text_encoder.embedding_mask(text_mask)
            embeddings = np.where(text_mask[..., None], embeddings, 0.0)
            embeddings = embeddings.astype("float32")
        else:
            shape = (*text_mask.shape, self.metadata["text"]["text_dim"])
            embeddings = np.zeros(shape, "float32")
            embeddings[text_mask] = np.concatenate(texts)
        return {"text_embeddings": embeddings, "text_mask": text_mask}
