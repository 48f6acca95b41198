"""From a collection of captioned pictures to the rows of each shard."""

import functools
import hashlib
import itertools
import json

import grain
import numpy as np

from keras_muse.data.image_text_dataset import ImageTextDataset
from keras_muse.runtime.checks import is_whole
from keras_muse.runtime.checks import show

# Decoding and resizing are done ahead, in threads.
_READING = grain.ReadOptions(num_threads=16, prefetch_buffer_size=64)


class Collection:
    """The rows of a collection, in blocks of which each is a shard.

    Args:
        pairs: `ImageTextDataset`, whose rows come in file order, plain and
            with all their captions; or an iterable of rows
            `{"image", "text"}` or of batches of them.
        rows_per_shard: int.
        prepare: function of a row's number, picture and captions. What it
            returns stands for the row.

    Attributes:
        num_rows: int or `None`. An iterable's rows are not known before all
            of its shards were asked for.
    """

    def __init__(self, pairs, rows_per_shard, prepare):
        self.is_indexed = isinstance(pairs, ImageTextDataset)
        if not self.is_indexed and not hasattr(pairs, "__iter__"):
            raise ValueError(
                "`pairs` must be captioned pictures, as `load_image_text` "
                f"gives them. Received: pairs={show(pairs)}"
            )
        self.num_rows = pairs.num_examples if self.is_indexed else None
        self._pairs = pairs
        self._rows_per_shard = rows_per_shard
        self._prepare = prepare

    @property
    def num_shards(self):
        return -(-self.num_rows // self._rows_per_shard)

    @property
    def fingerprint(self):
        """A hash of names and captions; `None` for an iterable."""
        if not self.is_indexed:
            return None
        digest = hashlib.sha256(str(self._pairs.image_size).encode())
        for row in self._names_and_captions:
            digest.update(json.dumps(row).encode())
        return digest.hexdigest()

    def shards(self, process):
        """Yields `(number, rows)` of the shards that a process writes.

        The rows are dicts: `"row"`, its number, `"name"` or `None`, and
        `"prepared"`; or `"problem"`, a string, in its place. An iterable is
        walked as a whole by each process.
        """
        if self.is_indexed:
            numbers = grain.MapDataset.range(self.num_shards)
            mine = slice(process.shard_index, None, process.shard_count)
            for number in numbers[mine]:
                yield number, self._block(int(number))
            return
        self.num_rows = 0
        for number, block in itertools.groupby(self._walk(), key=self._shard):
            if number % process.shard_count == process.shard_index:
                yield number, itertools.starmap(self._row, block)

    # === With an index ===

    def _block(self, number):
        start = number * self._rows_per_shard
        stop = min(start + self._rows_per_shard, self.num_rows)
        rows = grain.MapDataset.range(start, stop).map(self._read)
        return rows.to_iter_dataset(_READING)

    def _read(self, row):
        row = int(row)
        name, captions = self._names_and_captions[row]
        found = next(self._pairs.select([row]).iterate_rows(), {"image": None})
        return self._row(row, {**found, "text": captions, "name": name})

    @functools.cached_property
    def _names_and_captions(self):
        return [(row["name"], row["texts"]) for row in self._pairs.rows]

    # === Without one ===

    def _walk(self):
        for pair in self._pairs:
            is_batch = (
                isinstance(pair, dict) and np.ndim(pair.get("image")) == 4
            )
            pairs = [pair]
            if is_batch:
                pairs = (
                    {"image": image, "text": text}
                    for image, text in zip(
                        pair["image"], _texts_of_batch(pair), strict=True
                    )
                )
            for pair in pairs:
                self.num_rows += 1
                yield self.num_rows - 1, pair

    def _shard(self, item):
        return item[0] // self._rows_per_shard

    def _row(self, row, pair):
        name = pair.get("name") if isinstance(pair, dict) else None
        found = {"row": row, "name": name}
        try:
            image, captions = _image(pair), _captions(pair)
        except _BrokenRow as error:
            return {**found, "problem": str(error)}
        return {**found, "prepared": self._prepare(row, image, captions)}


def _texts_of_batch(batch):
    """Captions of a batch, one per picture."""
    texts = batch.get("text")
    if (
        isinstance(texts, str)
        or not hasattr(texts, "__len__")
        or len(texts) != len(batch["image"])
    ):
        raise ValueError(
            "A batch of `pairs` must have a `text` for each `image`. Received: "
            f"{len(batch['image'])} pictures, text={show(texts)}"
        )
    return texts


class _BrokenRow(Exception):
    pass


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
    if isinstance(text, np.ndarray) and text.ndim == 0:
        text = text.item()
    captions = [text] if isinstance(text, str) else text
    if not isinstance(captions, (list, tuple, np.ndarray)):
        raise _BrokenRow(f"`text` is no caption, but {text!r}")
    for caption in captions:
        if not isinstance(caption, str):
            raise _BrokenRow(f"`text` has {caption!r}, which is no caption")
        if not is_whole(caption):
            raise _BrokenRow(f"`text` has half a character: {caption!r}")
    captions = [caption.strip() for caption in captions if caption.strip()]
    if not captions:
        raise _BrokenRow("empty caption")
    return captions
