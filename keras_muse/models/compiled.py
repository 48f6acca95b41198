"""Compiled functions of a model, and batches of one shape to feed them."""

import importlib

import keras
import numpy as np

DEFAULT_BATCH_SIZE = 32  # of Keras


def compile_function(model, function):
    """Compiles a function that calls a model's layers, on the backend at hand.

    The weights are arguments of the compiled function, not constants in it:
    it follows later training, and a model's weights are in memory once. It
    compiles anew for new shapes and dtypes only. Under a distribution the
    examples are split over its devices, and the weights stay where they are.

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
        arrays: list of arrays, or of nested arrays, of the same length.
        batch_size: int. Largest batch; see `whole_batch`.
        on_batch: function or `None`. Called with the number of rows done.

    Returns:
        numpy array, the results of all rows.
    """
    num_rows = len(keras.tree.flatten(arrays)[0])
    batch_size = whole_batch(min(batch_size, num_rows))
    results = []
    for start in range(0, num_rows, batch_size):
        rows = keras.tree.map_structure(
            lambda x: pad_rows(x[start : start + batch_size], batch_size),  # noqa: B023
            arrays,
        )
        result = keras.ops.convert_to_numpy(function(*rows))
        results.append(result[: num_rows - start])
        if on_batch is not None:
            on_batch(min(start + batch_size, num_rows))
    return np.concatenate(results)


def pad_rows(array, num_rows):
    """Fills an array up to `num_rows` with copies of its first row."""
    missing = num_rows - len(array)
    if missing == 0:
        return array
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)])


# === Under a distribution ===


def whole_batch(batch_size):
    """Rounds a batch up to what the devices can share equally."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return batch_size
    replicas = distribution.num_model_replicas
    return -(-batch_size // replicas) * replicas


def fetchable(tensors):
    """Puts results where each process can read all of them.

    Args:
        tensors: tensor, or nested tensors, inside a compiled function.

    Returns:
        The same, whole on every device of the current distribution.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        return tensors

    def gather(x):
        layout = keras.distribution.TensorLayout(
            [None] * len(x.shape), distribution.device_mesh
        )
        return keras.distribution.distribute_tensor(x, layout)

    return keras.tree.map_structure(gather, tensors)


def check_whole_batches(x, batch_size, gradient_accumulation_steps=1):
    """Refuses data whose last batch cannot be shared equally.

    Args:
        x: what the user gave to `fit`. Arrays, and a `PyDataset`'s first and
            last batch, are checked; what only an iterator tells is not.
        batch_size: int or `None`, as in `fit`.
        gradient_accumulation_steps: int. Into how many parts each device cuts
            its rows.
    """
    distribution = keras.distribution.distribution()
    devices = 1
    if distribution is not None:
        # Each process gives its own part of a batch.
        devices = max(
            1, distribution.num_model_replicas // distribution.num_processes
        )
    parts = devices * gradient_accumulation_steps
    if parts == 1:
        return
    if are_arrays(x):
        num_rows = _num_rows(x)
        batch_size = min(batch_size or DEFAULT_BATCH_SIZE, num_rows)
        batches = [batch_size, num_rows % batch_size]
    elif isinstance(x, keras.utils.PyDataset):
        last = (x.num_batches or 1) - 1  # or endless
        batches = [_num_rows(x[0]), _num_rows(x[last])]
    else:
        return
    if any(rows % parts for rows in batches):
        raise ValueError(
            f"The rows of a batch must be a multiple of {parts}, which is "
            f"gradient_accumulation_steps={gradient_accumulation_steps} times "
            f"the {devices} device(s) that share them, and so must those of "
            f"the last batch. Received: batches of {batches[0]} rows, the "
            f"last of {batches[1] or batches[0]}"
        )


def _num_rows(batch):
    return len(keras.tree.flatten(batch)[0])


def are_arrays(x):
    """Whether `x` is an array or nested arrays, and not a dataset."""
    leaves = keras.tree.flatten(x)
    return bool(leaves) and all(hasattr(leaf, "shape") for leaf in leaves)
