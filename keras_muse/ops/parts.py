"""A function of many tokens, computed for a part of them at a time."""

import keras
from keras import ops


def map_parts(function, tensors, num_parts, axis):
    """Applies a function to equal parts of an axis, one after the other.

    What is in memory at once is what the function needs for one part. The
    last part is filled up with zeros, whose results are dropped.

    Args:
        function: function of `(parts, first)`: `tensors` with a part of the
            axis, and where in it the part begins, a number. It returns a
            tensor, or nested tensors, that have the part at the same axis.
        tensors: tensor, or nested tensors, of equal length along `axis`.
        num_parts: int. `1` calls the function once, with all.
        axis: int, at least 1.

    Returns:
        What the function returns, for the whole axis.

    Example:
    ```python
    import numpy as np
    from keras_muse.ops.parts import map_parts

    x = np.arange(12.0).reshape(2, 6)
    map_parts(lambda part, first: part + first, x, 3, axis=1)
    ```
    """
    tensors = keras.tree.map_structure(ops.convert_to_tensor, tensors)
    if num_parts == 1:
        return function(tensors, 0)
    length = keras.tree.flatten(tensors)[0].shape[axis]
    size = -(-length // num_parts)
    num_parts = -(-length // size)  # none of them empty
    parts = keras.tree.map_structure(
        lambda x: _cut(x, num_parts, size, axis), tensors
    )
    firsts = size * ops.arange(num_parts, dtype="int32")
    results = ops.map(lambda xs: function(*xs), (parts, firsts))
    return keras.tree.map_structure(lambda x: _join(x, length, axis), results)


def _cut(x, num_parts, size, axis):
    """`(..., length, ...)` to `(num_parts, ..., size, ...)`."""
    missing = num_parts * size - x.shape[axis]
    if missing:
        padding = [(0, 0)] * len(x.shape)
        padding[axis] = (0, missing)
        x = ops.pad(x, padding)
    before, after = x.shape[1:axis], x.shape[axis + 1 :]
    # The batch may not be known.
    x = ops.reshape(x, (-1, *before, num_parts, size, *after))
    return ops.moveaxis(x, axis, 0)


def _join(x, length, axis):
    """Undoes `_cut`."""
    num_parts, _, *before = x.shape[: axis + 1]
    size, after = x.shape[axis + 1], x.shape[axis + 2 :]
    x = ops.moveaxis(x, 0, axis)
    x = ops.reshape(x, (-1, *before, num_parts * size, *after))
    return x[(slice(None),) * axis + (slice(length),)]
