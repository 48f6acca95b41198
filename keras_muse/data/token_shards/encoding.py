"""From views of pictures and captions to what a token record holds."""

import collections
import hashlib
import json

import keras
import ml_dtypes
import numpy as np
from keras import ops

from keras_muse.data.decoding import as_size
from keras_muse.data.token_shards.views import picture_views
from keras_muse.data.token_shards.views import resize_view
from keras_muse.runtime.batches import pad_rows

# Texts kept in memory so that a caption met again is not encoded again.
_CACHE_BYTES = 2**30


class PictureViews:
    """Views of pictures at the sizes of one or two tokenizers.

    Args:
        image_size: int, pair of ints `(height, width)`, or None for each
            picture's own size.
        high_res_image_size: the same for a second tokenizer; `False` if there
            is none.
        **kwargs: arguments of `picture_views`.
    """

    def __init__(self, image_size, high_res_image_size, seed, **kwargs):
        sizes = {
            "image_size": image_size,
            "high_res_image_size": high_res_image_size,
        }
        self._sizes = [
            as_size(size, name)
            for name, size in sizes.items()
            if size is not False
        ]
        self._seed = seed
        self._kwargs = kwargs

    def __call__(self, row, image, captions):
        """A row as it goes through the encoders, fixed by its number.

        Returns:
            Dict of `"captions"` and `"views"`, a list with a uint8 array of
            shape `(num_views, height, width, 3)` for each tokenizer.
        """
        sizes = [tuple(size or image.shape[:2]) for size in self._sizes]
        low, high = sizes[0], sizes[-1]
        if low[0] * high[1] != low[1] * high[0]:
            raise ValueError(
                "`image_size` and `high_res_image_size` must have one aspect. "
                f"Received: image_size={low}, high_res_image_size={high}"
            )
        # The small picture is a copy of the large one.
        views = picture_views(
            image, high, seed=(self._seed, row), **self._kwargs
        )
        return {
            "captions": captions,
            "views": [
                np.stack([resize_view(view, size) for view in views])
                for size in sizes
            ],
        }


class PictureTokens:
    """One tokenizer, the one size of its pictures, and of its batches.

    Args:
        name: string. The argument that sets the size, for error messages.
        tokenizer: `VQGANTokenizer`.
        batch_size: int. Every batch is filled up to it: what becomes of a
            picture must not depend on how many there are beside it.
    """

    def __init__(self, name, tokenizer, batch_size):
        self._name = name
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._image_size = None

    def encode(self, views):
        """Token ids of shape `(batch, num_views, num_tokens)`.

        Args:
            views: list of arrays of shape `(num_views, height, width, 3)`.
        """
        for view in views:
            self.check_size(view.shape[1:3])
        token_ids = []
        for images in np.stack(views, axis=1):
            images = pad_rows(images, self._batch_size)
            grid = self._tokenizer.encode(images, batch_size=self._batch_size)
            grid = ops.convert_to_numpy(grid)[: len(views)]  # (batch, h, w)
            self._grid_size = grid.shape[1:]
            token_ids.append(grid.reshape(len(grid), -1))
        return np.stack(token_ids, axis=1)

    def check_size(self, size):
        """Raises unless pictures have one size `(height, width)`."""
        size = tuple(size)
        self._image_size = self._image_size or size
        if size != self._image_size:
            raise ValueError(
                f"Pictures differ in size ({self._image_size}, then {size}); "
                f"pass the one to bring them to. Received: {self._name}=None"
            )

    def metadata(self):
        """What readers need to know; `None` before the first picture."""
        if self._image_size is None:
            return None
        return {
            "image_size": [int(side) for side in self._image_size],
            "grid_size": [int(side) for side in self._grid_size],
            "codebook_size": int(self._tokenizer.codebook_size),
            "codebook_fingerprint": codebook_fingerprint(self._tokenizer),
        }


def codebook_fingerprint(tokenizer):
    """A hash of the codes; None for a tokenizer that keeps none to look at."""
    quantizer = getattr(tokenizer, "quantizer", None)
    return None if quantizer is None else quantizer.fingerprint()


def model_fingerprint(model, *parts):
    """A hash of a model's configuration, and of the weights of its parts."""
    config = {
        name: value
        for name, value in model.get_config().items()
        if name != "name"  # a counter
    }
    config = keras.saving.serialize_keras_object(config)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for part in parts:
        for weight in part.weights:
            array = ops.convert_to_numpy(weight)
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


class CaptionTexts:
    """The text of captions as it is stored; the same caption only once.

    Args:
        text_encoder: a text encoder.
        store: `"text_embeddings"` or `"text_ids"`.
        batch_size: int. Captions encoded at once; the same always, as for
            pictures.
    """

    def __init__(self, text_encoder, store, batch_size):
        self._text_encoder = text_encoder
        self._store = store
        self._batch_size = batch_size
        self._cache = collections.OrderedDict()
        self._cached_bytes = 0

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
            padded, mask = self._text_encoder.encode(
                captions, batch_size=self._batch_size
            )
            dtype = ml_dtypes.bfloat16
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
            "sequence_length": self._text_encoder.sequence_length,
        }
