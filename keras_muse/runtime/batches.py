"""Batches of one shape, which programs and devices are made for."""

import itertools

import keras
import numpy as np

DEFAULT_BATCH_SIZE = 32  # of Keras


def full_batches(arrays, batch_size):
    """Cuts arrays into batches of one size.

    The last batch is filled up with copies of its first row, so that what
    takes it is compiled once.

    Args:
        arrays: nested arrays of the same length.
        batch_size: int; see `round_up_to_devices`.

    Yields:
        Pairs of a slice, the rows that are not copies, and the nested arrays
        of the batch.
    """
    num_rows = count_rows(arrays)
    batch_size = round_up_to_devices(batch_size)
    for start in range(0, num_rows, batch_size):
        rows = slice(start, min(start + batch_size, num_rows))
        yield (
            rows,
            keras.tree.map_structure(
                lambda x: pad_rows(x[rows], batch_size),  # noqa: B023
                arrays,
            ),
        )


def map_batches(function, arrays, batch_size, min_rows=0, on_batch=None):
    """Applies a function to arrays, in batches of one size.

    Args:
        function: takes a batch of each array, returns a tensor.
        arrays: list of arrays, or of nested arrays, of the same length.
        batch_size: int. Largest batch.
        min_rows: int. Rows of the smallest batch, if `batch_size` allows:
            few rows are filled up to it. Defaults to none.
        on_batch: function or `None`. Called with the number of rows done.

    Returns:
        numpy array, the results of all rows.
    """
    num_rows = count_rows(arrays)
    batch_size = min(batch_size, max(num_rows, min_rows))
    results = []
    for rows, batch in full_batches(arrays, batch_size):
        result = keras.ops.convert_to_numpy(function(*batch))
        results.append(result[: rows.stop - rows.start])
        if on_batch is not None:
            on_batch(rows.stop)
    return np.concatenate(results)


def in_full_batches(function, array, batch_size):
    """Calls a function that cuts batches itself, with none that is short.

    So what becomes of a row is bit for bit the same alone and among others.

    Args:
        function: takes an array and `batch_size`, returns an array.
        array: array.
        batch_size: int.

    Returns:
        The results of all rows of `array`.
    """
    filled = pad_rows(array, max(len(array), batch_size))
    return function(filled, batch_size)[: len(array)]


def pad_rows(array, num_rows):
    """Fills an array up to `num_rows` with copies of its first row."""
    missing = num_rows - len(array)
    if missing == 0:
        return array
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)])


# === Under a distribution ===


def num_replicas():
    """Into how many parts the current distribution splits a batch."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.num_model_replicas


def num_local_replicas():
    """Into how many parts it splits the rows that this process gives."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    # A replica may lie on the devices of several processes.
    return max(1, num_replicas() // distribution.num_processes)


def round_up_to_devices(batch_size):
    """Rounds a batch up to what the devices can share equally."""
    return -(-batch_size // num_replicas()) * num_replicas()


def check_whole_batches(
    x, batch_size, gradient_accumulation_steps=1, num_rows=None
):
    """Refuses data whose last batch cannot be shared equally.

    Args:
        x: what the user gave to `fit`. Arrays, and a `PyDataset`'s first and
            last batch, are checked; what only an iterator tells is not.
        batch_size: int or `None`, as in `fit`.
        gradient_accumulation_steps: int. Into how many parts each device cuts
            its rows.
        num_rows: int or `None`. How many of the rows of arrays are taken;
            `None` for all.
    """
    devices = num_local_replicas()
    parts = devices * gradient_accumulation_steps
    if parts == 1:
        return
    if are_arrays(x):
        num_rows = count_rows(x) if num_rows is None else num_rows
        batch_size = min(batch_size or DEFAULT_BATCH_SIZE, num_rows)
        if not batch_size:
            return
        batches = [batch_size, num_rows % batch_size]
    elif isinstance(x, keras.utils.PyDataset):
        last = (x.num_batches or 1) - 1  # or endless
        batches = [count_rows(x[0]), count_rows(x[last])]
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


def first_batch(x):
    """The first inputs of what the user gave to `fit`, to be checked.

    Args:
        x: a dataset, or whatever else, which is returned as it is.

    Returns:
        Nested numpy arrays; or `None` of what can be read only once, of a
        dataset without a batch, and of our streams, which check their rows.
    """
    if not is_dataset(x):
        return x
    if hasattr(x, "steps_per_epoch"):
        return None
    if isinstance(x, keras.utils.PyDataset):
        batch = x[0] if x.num_batches != 0 else None
    elif hasattr(x, "element_spec"):  # of `tf.data`
        batch = next(iter(x), None)
    elif is_loader(x):
        batch = _first_of_loader(x)
    else:
        return None
    inputs, *_ = keras.utils.unpack_x_y_sample_weight(batch)
    return keras.tree.map_structure(
        lambda x: keras.ops.convert_to_numpy(x) if hasattr(x, "shape") else x,
        inputs,
    )


def is_loader(x):
    """Whether `x` is a `DataLoader` of Torch, known by what it has."""
    return hasattr(x, "collate_fn") and hasattr(x, "dataset")


def _first_of_loader(loader):
    """The first row as a batch, or `None` where rows have no numbers.

    Not the first batch: to iterate would draw from the random numbers of the
    training, and start the workers.
    """
    if loader.batch_sampler is None:  # the dataset makes batches itself
        return None
    try:
        row = loader.dataset[0]
    except (NotImplementedError, LookupError):
        return None
    return loader.collate_fn([row])


def dataset_inputs(x):
    """The inputs of each batch of a dataset, as nested numpy arrays."""
    batches = x
    if isinstance(x, keras.utils.PyDataset):
        endless = itertools.count()
        places = endless if x.num_batches is None else range(x.num_batches)
        batches = (x[place] for place in places)
    for batch in batches:
        inputs, *_ = keras.utils.unpack_x_y_sample_weight(batch)
        yield keras.tree.map_structure(
            keras.ops.convert_to_numpy, without_none(inputs)
        )


def is_dataset(x):
    """Whether `x` gives batches, and is no batch or value itself."""
    is_value = isinstance(x, dict | list | tuple | str | bytes)
    return hasattr(x, "__iter__") and not is_value and not hasattr(x, "shape")


def without_none(batch):
    """A dict without what is `None` in it; anything else as it is."""
    if not isinstance(batch, dict):
        return batch
    return {name: x for name, x in batch.items() if x is not None}


def count_rows(arrays):
    """The rows of nested arrays."""
    return len(keras.tree.flatten(without_none(arrays))[0])


def are_arrays(x):
    """Whether `x` is an array or nested arrays, and not a dataset."""
    leaves = keras.tree.flatten(x)
    return bool(leaves) and all(hasattr(leaf, "shape") for leaf in leaves)
