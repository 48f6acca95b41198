"""All features of a set, and blocks of pairs of them."""

import numpy as np

_BLOCK_PAIRS = 2**24  # 128 MiB of float64


class FeatureRows:
    """A set of features of which each is kept, in order of arrival.

    A value: sets are joined by `+`, which gives a new one.

    Args:
        features: array of shape `(count, feature_dim)`, or `None` for the
            empty set.
    """

    def __init__(self, features=None):
        self.count, self.feature_dim, self._parts = 0, None, ()
        if features is not None:
            self.count, self.feature_dim = features.shape
            self._parts = (features,)

    def __add__(self, other):
        joined = FeatureRows()
        joined.count = self.count + other.count
        joined.feature_dim = self.feature_dim or other.feature_dim
        joined._parts = self._parts + other._parts
        return joined

    def array(self):
        """All features as float64, `(count, feature_dim)`."""
        return np.concatenate(self._parts, dtype="float64")


def row_blocks(num_rows, num_columns):
    """Slices of rows that keep a block of a pairwise matrix in memory."""
    size = max(1, _BLOCK_PAIRS // num_columns)
    return [slice(i, i + size) for i in range(0, num_rows, size)]
