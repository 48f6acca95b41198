"""Compiled functions of a model, and batches of one shape to feed them."""

import importlib

import keras
import numpy as np


def compile_function(model, function):
    """Compiles a function that calls a model's layers, on the backend at hand.

    The weights are arguments of the compiled function, not constants in it:
    it follows later training, and a model's weights are in memory once. It
    compiles anew for new shapes and dtypes only.

    Args:
        model: a `keras.Model` whose variables the function reads.
        function: a function of tensors (or nested lists of them) that
            returns tensors. It must not update variables.

    Returns:
        A function of the same arguments.
    """
    backend = keras.config.backend()
    leaf = importlib.import_module(f"keras_muse.models._{backend}")
    return leaf.compile_function(model, function)


def map_batches(function, arrays, batch_size, on_batch=None):
    """Applies a function to arrays, in batches of one size.

    The last batch is filled up with copies of its first row, so that the
    function is compiled once; the copies' results are dropped.

    Args:
        function: takes a slice of each array, returns a tensor.
        arrays: list of arrays of the same length.
        batch_size: int. Largest batch.
        on_batch: function or `None`. Called with the number of rows done.

    Returns:
        numpy array, the results of all rows.
    """
    num_rows = len(arrays[0])
    batch_size = min(batch_size, num_rows)
    results = []
    for start in range(0, num_rows, batch_size):
        rows = [array[start : start + batch_size] for array in arrays]
        result = function(*[pad_rows(row, batch_size) for row in rows])
        result = keras.ops.convert_to_numpy(result)[: len(rows[0])]
        results.append(result)
        if on_batch is not None:
            on_batch(start + len(result))
    return np.concatenate(results)


def pad_rows(array, num_rows):
    """Fills an array up to `num_rows` with copies of its first row."""
    missing = num_rows - len(array)
    if missing == 0:
        return array
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)])
