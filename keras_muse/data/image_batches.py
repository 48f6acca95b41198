"""`ImageBatches`: what `pairs.images` is, for `tokenizer.fit`."""

import copy

import keras


class ImageBatches(keras.utils.PyDataset):
    """The pictures of a dataset, batch for batch; their position is its.

    Args:
        pairs: a `keras_muse.data.ImageTextDataset`.
    """

    def __init__(self, pairs):
        super().__init__(
            workers=pairs.workers,
            use_multiprocessing=pairs.use_multiprocessing,
            max_queue_size=pairs.max_queue_size,
        )
        self.pairs = pairs

    def __copy__(self):
        """With a position of its own, as a copy of `pairs` has."""
        return ImageBatches(copy.copy(self.pairs))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]["image"]

    def on_epoch_begin(self):
        self.pairs.on_epoch_begin()

    def on_epoch_end(self):
        self.pairs.on_epoch_end()

    def resume(self, step, epoch_length=None):
        self.pairs.resume(step, epoch_length)

    def in_training(self, shuffle=None, steps_per_epoch=None):
        return self.pairs.in_training(shuffle, steps_per_epoch)

    def shared(self):
        return self.pairs.shared()

    @property
    def step(self):
        return self.pairs.step

    @step.setter
    def step(self, step):
        self.pairs.step = step

    @property
    def steps_per_epoch(self):
        return self.pairs.steps_per_epoch

    @steps_per_epoch.setter
    def steps_per_epoch(self, steps_per_epoch):
        self.pairs.steps_per_epoch = steps_per_epoch

    @property
    def identity(self):
        return self.pairs.identity
