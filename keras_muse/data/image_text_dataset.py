"""`ImageTextDataset`: batches of pictures and captions."""

import concurrent.futures
import contextlib
import copy
import dataclasses
import math
import warnings
import zlib

import numpy as np

from keras_muse.data import augmentation
from keras_muse.data import decoding
from keras_muse.data.batch_stream import BatchStream
from keras_muse.data.batch_stream import share_of
from keras_muse.data.draws import draw_order
from keras_muse.data.draws import groups_by_column
from keras_muse.data.hold_out import has_splits
from keras_muse.data.hold_out import split_rows
from keras_muse.data.image_batches import ImageBatches
from keras_muse.runtime.checks import LARGEST_SEED
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.checks import show

# What a draw is for; part of its seed, so that draws are independent.
_ORDER, _CAPTION, _SCALE, _CROP = range(4)
BROKEN = "broken picture"  # why a row is skipped that cannot be decoded


class ImageTextDataset(BatchStream):
    """Batches of pictures and captions, decoded when they are asked for.

    `dataset[i]` is the batch `{"image": uint8 (batch, height, width, 3),
    "text": list of strings}`. It is a function of `seed` and of its number,
    `dataset.step + i`, alone. Keras moves `step` on; it may be set to resume,
    which `keras_muse.training.Checkpoint` does by itself, or `epoch`, the
    number of the pass over the pictures. A `for` loop moves neither: it gives
    the same batches each time.

    Of several processes that were joined by
    `keras_muse.training.distribution.initialize`, `fit` and `evaluate` give
    each its part of every batch, and the batches do not depend on their
    number. Elsewhere each gets all rows.

    A picture that turns out to be broken is added to `.report`. While
    shuffling, the next readable picture takes its place, so that batches
    keep their shape; in file order its row is left out.

    Made by `keras_muse.data.load_image_text` and `load_emoji`.

    Args:
        rows: list of `keras_muse.data.sources.Row`.
        skipped: dict of reason to list of names. What was left out before.
        image_size, batch_size, shuffle, seed, augment, balance, max_pixels,
            **kwargs: see `keras_muse.data.load_image_text`.

    Example:

    ```python
    import keras_muse

    pairs = keras_muse.data.load_emoji(image_size=32, styles=["fxemoji"])
    pairs[0]["image"].shape  # (32, 32, 32, 3)
    images, texts = pairs.select(range(10)).as_arrays()
    for row in pairs.select(range(2)).iterate_rows():
        row["image"].shape, row["text"]  # (32, 32, 3), "cyclone, fxemoji style"
    # tokenizer.fit(pairs.images)
    ```
    """

    batch_names = ("image", "text")

    def __init__(
        self,
        rows,
        image_size=None,
        batch_size=32,
        shuffle=None,
        seed=0,
        augment=False,
        balance=None,
        skipped=None,
        max_pixels=decoding.MAX_PIXELS,
        **kwargs,
    ):
        if augment and kwargs.get("use_multiprocessing"):
            raise ValueError(
                "`augment` needs TensorFlow, which does not survive in worker "
                "processes: leave `use_multiprocessing` away; `workers` are "
                "threads then. Received: use_multiprocessing=True"
            )
        if balance is not None and not shuffle:
            raise ValueError(
                "`balance` draws rows at random and needs `shuffle=True`. "
                f"Received: balance={balance!r}, shuffle={shuffle}"
            )
        self.image_size = decoding.as_size(image_size)
        self.batch_size = check_int(batch_size, "batch_size")
        if shuffle is not None:
            shuffle = check_bool(shuffle, "shuffle")
        self.shuffle = shuffle
        self.seed = check_int(seed, "seed", low=0, high=LARGEST_SEED)
        self.balance = balance
        self._augment = augmentation.augment_options(augment, self.image_size)
        self._skipped = skipped or {}
        self._max_pixels = check_int(
            max_pixels, "max_pixels", high=decoding.MOST_PIXELS
        )
        # Between what bounds the pictures' fractions lie, for `hold_out`.
        self._fractions = (0.0, 1.0)
        super().__init__(steps_per_epoch=None, **kwargs)
        self._set_rows(rows)

    def _set_rows(self, rows, broken=()):
        self._rows = rows
        self._captions = [
            [text.strip() for text in row.texts if text.strip()] for row in rows
        ]
        # Place to a token of the thread that saw it first.
        self._broken = dict.fromkeys(broken, self)
        # Where no size is asked for, that of the first picture is all others'.
        self.__dict__.pop("_first_image", None)
        self._groups = None
        if self.balance is not None and rows:
            self._groups = groups_by_column(rows, self.balance)
        self._last_order = None
        self.steps_per_epoch = self._steps_per_pass
        self.step = 0

    def __repr__(self):
        num_skipped = sum(map(len, self._skipped.values()))
        return (
            f"<{type(self).__name__} of {self.num_examples} pictures, "
            f"image_size={self.image_size}, batch_size={self.batch_size}, "
            f"{num_skipped} skipped>"
        )

    # === What is in it ===

    @property
    def num_examples(self):
        """Number of pictures."""
        return len(self._rows)

    @property
    def texts(self):
        """The first caption of every picture, in file order."""
        return [captions[0] for captions in self._captions]

    @property
    def rows(self):
        """A dict per picture: `name`, `texts` and the source's own columns."""
        return [
            {**row.metadata, "name": row.name, "texts": list(captions)}
            for row, captions in zip(self._rows, self._captions, strict=True)
        ]

    @property
    def digests(self):
        """A hash of each picture's bytes, in file order.

        `None` where they cannot be read. All are read, once.
        """
        with concurrent.futures.ThreadPoolExecutor() as pool:
            return list(pool.map(lambda row: row.digest, self._rows))

    @property
    def report(self):
        """What was skipped: `num_examples`, `counts` and `skipped` names."""
        return {
            "num_examples": self.num_examples - len(self._broken),
            "counts": {
                reason: len(names) for reason, names in self._skipped.items()
            },
            "skipped": copy.deepcopy(self._skipped),
        }

    @property
    def images(self):
        """The same batches without their captions, for `tokenizer.fit`."""
        return ImageBatches(self)

    def select(self, indices):
        """A dataset of some of the rows, by their places in file order."""
        selected = copy.copy(self)
        # Writing shards selects millions of times: of the names only those
        # are copied that become more as pictures are decoded.
        selected._skipped = dict(self._skipped)
        if BROKEN in self._skipped:
            selected._skipped[BROKEN] = list(self._skipped[BROKEN])
        places = [i % self.num_examples for i in self._checked(indices)]
        selected._set_rows(
            [self._rows[i] for i in places],
            broken=[new for new, i in enumerate(places) if i in self._broken],
        )
        return selected

    def _checked(self, indices):
        last = self.num_examples - 1
        try:
            return [
                check_int(i, "indices", low=-last - 1, high=last)
                for i in indices
            ]
        except TypeError as error:
            raise ValueError(
                "`indices` must be integers, one per row. Received: "
                f"indices={show(indices)}"
            ) from error

    def select_evenly(self, num_rows):
        """A dataset of so many rows, spread evenly over the file order.

        For a look at all kinds of a collection that is sorted by kind.

        Args:
            num_rows: int, at least 1. With fewer rows than that, all are taken.

        Raises:
            ValueError: if `num_rows` is not positive.
        """
        num_rows = min(check_int(num_rows, "num_rows"), self.num_examples)
        step = self.num_examples / max(1, num_rows)
        return self.select([int(i * step) for i in range(num_rows)])

    def hold_out(self, share):
        """Two datasets: the rows to train on, and those never to.

        Which is which follows from the bytes of each picture, so that copies
        stay together, and neither another name nor another picture beside it
        changes anything. Where rows have a column `split`, it decides: those
        of `"train"` are trained on; where none is, those that name no split.
        Of each part some can be held out again. What is held out is not
        augmented.

        Args:
            share: float in [0, 1). About what part of the rows is held out.

        Returns:
            Two `ImageTextDataset`.

        Raises:
            ValueError: if `share` is out of range.
        """
        share = check_number(share, "share", 0, 1, open_at="high")
        low, high = self._fractions
        bound = low + share * (high - low) if share else 0.0
        kept, held_out = map(self.select, split_rows(self._rows, bound))
        # A loss must be the same twice.
        held_out._augment = None
        if share and not has_splits(self._rows):
            kept._fractions, held_out._fractions = (bound, high), (low, bound)
        return kept, held_out

    def resized(self, image_size):
        """The same dataset with its pictures at another size.

        Args:
            image_size: int or pair of ints; see `load_image_text`.

        Raises:
            ValueError: if the size is none, or the pictures are augmented.
        """
        if self._augment:
            raise ValueError(
                "An augmented dataset has one size: read it again at another. "
                f"Received: augment={dict(self._augment)}"
            )
        resized = self.select(range(self.num_examples))
        resized.image_size = decoding.as_size(image_size)
        return resized

    def map_texts(self, function):
        """The same dataset with other captions.

        Args:
            function: function of a caption, a string, that returns another.
        """
        if not callable(function):
            raise ValueError(
                "`function` must be a function of a caption. Received: "
                f"function={show(function)}"
            )
        mapped = self.select(range(self.num_examples))
        mapped._set_rows(
            [
                dataclasses.replace(row, texts=_mapped(function, captions))
                for row, captions in zip(
                    self._rows, self._captions, strict=True
                )
            ],
            broken=self._broken,
        )
        return mapped

    def picture_size(self, index):
        """`(height, width)` of a picture as it is, of its header alone.

        Args:
            index: int. Its place in file order.

        Returns:
            Pair of ints, or `None` where the header cannot be read.
        """
        last = self.num_examples - 1
        index = check_int(index, "index", low=-last - 1, high=last)
        try:
            source = self._rows[index].read()
            return decoding.picture_size(source, self._max_pixels)
        except Exception:
            # Pillow's readers raise errors of many kinds on damaged files.
            return None

    def readable(self):
        """A dataset of the rows whose pictures can be decoded.

        It decodes all of them, once. The others are named in its `.report`.

        Raises:
            ValueError: if there is none.
        """
        indices = range(self.num_examples)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            is_readable = list(pool.map(self._is_readable, indices))
        readable = self.select(
            [i for i in indices if is_readable[i]]  # in file order
        )
        if not readable.num_examples:
            raise ValueError(
                "None of the pictures can be decoded. Received: "
                f"{self.num_examples} pictures, {self.report['skipped']}"
            )
        return readable

    def _is_readable(self, index):
        return self._image(index, self.image_size) is not None

    # === Rows, in file order and without augmentation ===

    def iterate_rows(self, all_captions=False):
        """Yields `{"image": (height, width, 3), "text": string}`.

        Args:
            all_captions: bool. Whether a picture is repeated for each of its
                captions; otherwise the first one is used. Defaults to `False`.
        """
        for index, captions in enumerate(self._captions):
            image = self._image(index, self.image_size)
            if image is not None:
                for text in captions if all_captions else captions[:1]:
                    yield {"image": image, "text": text}

    def as_arrays(self):
        """All pictures, uint8 `(n, height, width, 3)`, and `n` captions."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            images = list(
                pool.map(
                    lambda index: self._image(index, self.image_size),
                    range(self.num_examples),
                )
            )
        texts = [
            text
            for text, image in zip(self.texts, images, strict=True)
            if image is not None
        ]
        return self._stack(images), texts

    # === Batches ===

    @property
    def _steps_per_pass(self):
        return math.ceil(self.num_examples / self.batch_size)

    @property
    def epoch(self):
        return self.step // max(1, self._steps_per_pass)

    @epoch.setter
    def epoch(self, epoch):
        self.step = check_int(epoch, "epoch", low=0) * self._steps_per_pass

    @property
    def identity(self):
        names = "\n".join(row.name for row in self._rows)
        names = names.encode("utf-8", "backslashreplace")
        return {
            "num_examples": self.num_examples,
            "names": zlib.crc32(names),
            "image_size": self.image_size and list(self.image_size),
            "augment": self._augment and {**self._augment},
            "batch_size": self.batch_size,
            "shuffle": self.is_shuffled,
            "balance": self.balance,
            "seed": self.seed,
            "steps_per_epoch": self.steps_per_epoch,
        }

    @contextlib.contextmanager
    def shared(self):
        """A scope in which each process of the job gets its part of a batch.

        Raises:
            ValueError: if they cannot share each batch equally.
        """
        # It imports grain, which takes a second and is of use here only.
        from keras_muse.data.processes import this_process

        process = this_process()
        count = process.shard_count
        rest = self.num_examples % self.batch_size
        if self.batch_size % count or rest % count:
            raise ValueError(
                "The processes that train together must divide `batch_size`, "
                "and what is left of the rows for the last batch: `select` "
                f"fewer. Received: {count} processes, batch_size="
                f"{self.batch_size}, {self.num_examples} rows"
            )
        self._process = process.shard_index, count
        try:
            yield
        finally:
            self._process = 0, 1

    def batch(self, step):
        epoch, index = divmod(step, self._steps_per_pass)
        size = self.image_size
        if self._augment:
            seed = self._draw_seed(epoch, _SCALE, index)
            size = augmentation.enlarged_size(
                size, seed, self._augment["enlarge"]
            )
        order = self._order(epoch)
        first = index * self.batch_size
        places = range(first, min(first + self.batch_size, len(order)))
        if not self._augment:
            places = share_of(places, self._process)
        batch = [self._readable(epoch, order, place, size) for place in places]
        batch = [pair for pair in batch if pair is not None]
        if self.is_shared and len(batch) < len(places):
            raise ValueError(
                "Processes that share batches need all pictures: leave out "
                "those that cannot be decoded by `readable()`. Received: "
                f"{self.report['counts']}"
            )
        if not batch:
            batch = [self._next_readable(epoch, order, first, size)]
        images = self._stack([image for image, _ in batch])
        if self._augment and len(batch):
            images = augmentation.random_crop_and_flip(
                images,
                self.image_size,
                self._draw_seed(epoch, _CROP, index),
                self._augment["flip"],
            )
            # They are drawn for all of a batch.
            images = share_of(images, self._process)
            batch = share_of(batch, self._process)
        return {"image": images, "text": [text for _, text in batch]}

    def _order(self, epoch):
        """Which row is at which place in a pass over the pictures."""
        if not self.is_shuffled:
            return range(self.num_examples)
        last = self._last_order  # read once: there may be threads
        if last is None or last[0] != epoch:
            generator = self._generator(epoch, _ORDER)
            order = draw_order(self.num_examples, self._groups, generator)
            self._last_order = last = epoch, order
        return last[1]

    def _readable(self, epoch, order, place, size):
        """Picture and caption at a place of the order, or the next ones."""
        num_tries = len(order) if self.is_shuffled else 1
        for skipped in range(num_tries):
            row = order[(place + skipped) % len(order)]
            image = self._image(row, size)
            if image is not None:
                return image, self._caption(row, epoch, place)
        return None

    def _next_readable(self, epoch, order, place, size):
        """What stands for a batch of nothing but broken pictures.

        Keras counted it, and no model takes a batch without rows.
        """
        for _ in range(len(order)):
            place = (place + 1) % len(order)
            pair = self._readable(epoch, order, place, size)
            if pair is not None:
                return pair
        raise ValueError(
            "None of the pictures can be decoded. Received: "
            f"{self.num_examples} pictures, {self.report['counts']}"
        )

    def _caption(self, row, epoch, place):
        captions = self._captions[row]
        if not self.is_shuffled or len(captions) == 1:
            return captions[0]
        seed = self._draw_seed(epoch, _CAPTION, place)
        return captions[seed % len(captions)]

    def _image(self, index, size):
        """Decodes a picture; None, and a note in the report, if it cannot."""
        if index in self._broken:
            return None
        row = self._rows[index]
        try:
            image = decoding.decode(row.read(), size, self._max_pixels)
        except Exception as error:
            # Pillow's readers raise errors of many kinds on damaged files.
            self._note_broken(index, error)
            return None
        if self.image_size is None:
            self._check_same_size(row.name, image)
        return image

    def _note_broken(self, index, error):
        # One step, which no other thread comes between.
        mine = object()
        if self._broken.setdefault(index, mine) is not mine:
            return
        name = self._rows[index].name
        self._skipped.setdefault(BROKEN, []).append(name)
        warnings.warn(f"{name!r} is skipped: {error}", stacklevel=2)

    def _check_same_size(self, name, image):
        first = self.__dict__.setdefault("_first_image", (name, image.shape))
        if image.shape != first[1]:
            raise ValueError(
                "`image_size` is needed, as the pictures differ in size. "
                f"Received: image_size=None, {first[0]!r} of {first[1][:2]} "
                f"and {name!r} of {image.shape[:2]}"
            )

    def _stack(self, images):
        images = [image for image in images if image is not None]
        if not images:
            return np.zeros((0, *(self.image_size or (0, 0)), 3), "uint8")
        return np.stack(images)

    # === Draws, each a function of (seed, epoch, what for, which) ===

    def _generator(self, epoch, purpose, index=0):
        return np.random.default_rng((self.seed, epoch, purpose, index))

    def _draw_seed(self, epoch, purpose, index):
        return int(self._generator(epoch, purpose, index).integers(2**31 - 1))


def _mapped(function, captions):
    """Captions as a function makes them, a tuple of strings."""
    mapped = tuple(map(function, captions))
    for caption, text in zip(captions, mapped, strict=True):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(
                "`function` must give a caption, a string that is not empty. "
                f"Received: {show(text)} of {show(caption)}"
            )
    return mapped
