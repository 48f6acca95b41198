"""Batches of small pictures, whole ones and parts of larger ones."""

import keras
import numpy as np


class Patches(keras.utils.PyDataset):
    """Batches of small pictures: half whole ones, half parts of large ones.

    A VQGAN without attention may be trained on small patches and used on
    large pictures. The tokenizer sees what it will tokenize at both sizes, at
    the cost of the smaller.

    Args:
        small: uint8 array of shape `(num_images, size, size, 3)`.
        large: uint8 array of pictures that are at least as large.
        batch_size: int, even.
        num_batches: int. Batches an epoch.
        seed: int.
    """

    def __init__(self, small, large, batch_size, num_batches, seed):
        super().__init__()
        self.small, self.large = small, large
        self.batch_size, self._length = batch_size, num_batches
        self.seed, self.epoch = seed, 0

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, self.epoch, index])
        whole = rng.integers(len(self.small), size=self.batch_size // 2)
        cut = rng.integers(len(self.large), size=self.batch_size // 2)
        size = self.small.shape[1]
        num_corners = self.large.shape[1] - size + 1
        corners = rng.integers(num_corners, size=(len(cut), 2))
        parts = [
            self.large[i, y : y + size, x : x + size]
            for i, (y, x) in zip(cut, corners, strict=True)
        ]
        return np.concatenate([self.small[whole], np.stack(parts)])

    def on_epoch_end(self):
        self.epoch += 1
