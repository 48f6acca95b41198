"""From rows of pictures and captions to what a token record holds."""

import collections
import hashlib

import ml_dtypes
import numpy as np
from keras import ops

from keras_muse.data.image_text_dataset import ImageTextDataset
from keras_muse.data.picture_views import resize_view

# Texts kept in memory so that a caption met again is not encoded again.
_CACHE_BYTES = 2**30


def valid_rows(pairs, report):
    """Yields `(row, image, captions)`, counting and naming the others.

    Args:
        pairs: `ImageTextDataset`, whose rows come in file order, plain and
            with all their captions; or an iterable of rows
            `{"image", "text"}` or of batches of them.
        report: dict of `"num_rows"`, `"num_skipped"` and `"skipped"`, which
            is updated on the way.
    """
    for row, pair in enumerate(_rows(pairs)):
        report["num_rows"] += 1
        try:
            yield row, _image(pair), _captions(pair)
        except _BrokenRow as error:
            report["num_skipped"] += 1
            skipped = {"row": row, "reason": str(error)}
            if isinstance(pair, dict) and "name" in pair:
                skipped["name"] = pair["name"]
            report["skipped"].append(skipped)


class _BrokenRow(Exception):
    pass


def _rows(pairs):
    if isinstance(pairs, ImageTextDataset):
        for index, row in enumerate(pairs.rows):
            images, _ = pairs.select([index]).as_arrays()
            image = images[0] if len(images) else None
            yield {"image": image, "text": row["texts"], "name": row["name"]}
        return
    for pair in pairs:
        is_batch = isinstance(pair, dict) and np.ndim(pair.get("image")) == 4
        if not is_batch:
            yield pair
            continue
        for image, text in zip(pair["image"], pair["text"], strict=True):
            yield {"image": image, "text": text}


def _image(pair):
    if not isinstance(pair, dict) or pair.get("image") is None:
        raise _BrokenRow("no readable `image`")
    image = np.asarray(pair["image"])
    is_rgb = image.ndim == 3 and image.shape[-1] == 3 and image.size
    if image.dtype != np.uint8 or not is_rgb:
        raise _BrokenRow(
            "`image` is not uint8 of shape (height, width, 3), but "
            f"{image.dtype} of shape {image.shape}"
        )
    return image


def _captions(pair):
    text = pair.get("text")
    captions = [text] if isinstance(text, str) else text
    if not isinstance(captions, (list, tuple, np.ndarray)):
        raise _BrokenRow(f"`text` is no caption, but {text!r}")
    captions = [
        caption.strip()
        for caption in captions
        if isinstance(caption, str) and caption.strip()
    ]
    if not captions:
        raise _BrokenRow("empty caption")
    return captions


class PictureTokens:
    """One tokenizer and the one size of picture that it is given.

    Args:
        name: string. The argument that sets the size, for error messages.
        tokenizer: `VQGANTokenizer`.
        size: int, pair of ints `(height, width)`, or None for the size of the
            first picture, which all others must then have.
    """

    def __init__(self, name, tokenizer, size):
        self._name = name
        self._tokenizer = tokenizer
        self._size = (size, size) if isinstance(size, int) else size
        self._is_fixed = size is not None

    def size_of(self, image):
        """The size that `image` is brought to, `(height, width)`."""
        self._size = self._size or image.shape[:2]
        if not self._is_fixed and image.shape[:2] != self._size:
            raise ValueError(
                f"Pictures differ in size ({self._size}, then "
                f"{image.shape[:2]}); pass the one to bring them to. "
                f"Received: {self._name}=None"
            )
        return self._size

    def encode(self, views):
        """Token ids of `(batch, num_views, num_tokens)` of `picture_views`."""
        token_ids = []
        for one_view in zip(*views, strict=True):
            images = [resize_view(view, self._size) for view in one_view]
            grid = self._tokenizer.encode(np.stack(images))
            grid = ops.convert_to_numpy(grid)  # (batch, height, width)
            self._grid_size = grid.shape[1:]
            token_ids.append(grid.reshape(len(grid), -1))
        return np.stack(token_ids, axis=1)

    def metadata(self):
        return {
            "image_size": [int(side) for side in self._size],
            "grid_size": [int(side) for side in self._grid_size],
            "codebook_size": int(self._tokenizer.codebook_size),
            "codebook_fingerprint": codebook_fingerprint(self._tokenizer),
        }


def codebook_fingerprint(tokenizer):
    """A hash of the codes; None for a tokenizer that keeps none to look at."""
    quantizer = getattr(tokenizer, "quantizer", None)
    if quantizer is None:
        return None
    codebook = ops.convert_to_numpy(quantizer.codebook).astype("<f4")
    return hashlib.sha256(codebook.tobytes()).hexdigest()


class CaptionTexts:
    """The text of captions as it is stored; the same caption only once.

    Args:
        text_encoder: a text encoder.
        store: `"text_embeddings"` or `"text_ids"`.
    """

    def __init__(self, text_encoder, store):
        self._text_encoder = text_encoder
        self._store = store
        self._cache = collections.OrderedDict()
        self._cached_bytes = 0
        self._sequence_length = None

    def encode(self, batch):
        """Texts of a list of lists of captions, without padding.

        Returns:
            List of lists of bfloat16 arrays of shape `(length, text_dim)`,
            or of int32 arrays of shape `(length,)` for `"text_ids"`.
        """
        captions = dict.fromkeys(caption for row in batch for caption in row)
        new = [caption for caption in captions if caption not in self._cache]
        if new:
            self._encode(new)
        texts = [[self._cache[caption] for caption in row] for row in batch]
        self._shrink_cache()
        return texts

    def _encode(self, captions):
        if self._store == "text_ids":
            tokens = self._text_encoder.tokenize(captions)
            padded, mask = tokens["token_ids"], tokens["padding_mask"]
            dtype = "int32"
        else:
            padded, mask = self._text_encoder.encode(captions)
            dtype = ml_dtypes.bfloat16
        self._sequence_length = mask.shape[1]
        padded = ops.convert_to_numpy(padded).astype(dtype)
        mask = ops.convert_to_numpy(mask).astype(bool)
        for caption, text, is_token in zip(captions, padded, mask, strict=True):
            self._cache[caption] = text[is_token]
            self._cached_bytes += self._cache[caption].nbytes

    def _shrink_cache(self):
        while self._cached_bytes > _CACHE_BYTES:
            _, text = self._cache.popitem(last=False)
            self._cached_bytes -= text.nbytes

    def metadata(self):
        return {
            "store": self._store,
            "text_encoder": type(self._text_encoder).__name__,
            "text_dim": self._text_encoder.text_dim,
            "sequence_length": self._sequence_length,
        }
