"""What a model takes, named: told of what comes otherwise, with no arrays."""

import dataclasses

import keras
import numpy as np

from keras_muse.runtime.batches import first_batch
from keras_muse.runtime.batches import without_none
from keras_muse.runtime.checks import check_flags


@dataclasses.dataclass(frozen=True)
class Input:
    """One array of a batch.

    Attributes:
        shapes: tuple of the shapes that it may have, without the axis of the
            batch. A side that is a name may have any length, but the same in
            all arrays.
        high: int or `None`. Of ids, integers in `[0, high)`.
        what: string. What ids are.
        is_optional: bool. Whether a batch may lack it.
        is_flag: bool. Whether it is bool, or the numbers 0 and 1.
    """

    shapes: tuple
    high: int | None = None
    what: str = "integers"
    is_optional: bool = False
    is_flag: bool = False


def check_data(x, inputs, argument):
    """Refuses data whose first batch is not made of these arrays.

    Args:
        x: what somebody gave to `fit`, `evaluate` or `predict`.
        inputs: dict of `Input`.
        argument: string. What it is called there.
    """
    names = getattr(x, "batch_names", None)  # of our streams
    if names is not None:
        check_names(dict.fromkeys(names, True), inputs, argument)
    batch = first_batch(x)
    if batch is not None or x is None:
        batch = _with_values(as_native(batch), inputs)
        check_inputs(batch, inputs, argument)


def _with_values(batch, inputs):
    """A batch whose ids and flags are numpy's, so that they are looked at."""

    def fetched(name, x):
        spec = inputs.get(name)
        if (
            spec is None
            or not (spec.is_flag or spec.high is not None)
            or not hasattr(x, "shape")
            # Of many processes, each of which has a part of the array.
            or not getattr(x, "is_fully_addressable", True)
        ):
            return x
        return keras.ops.convert_to_numpy(x)

    if not isinstance(batch, dict):
        return batch
    return {name: fetched(name, x) for name, x in batch.items()}


def check_inputs(batch, inputs, argument):
    """Refuses a batch that is not made of these arrays.

    Args:
        batch: what somebody gave, arrays or tensors; values are looked at
            where they are numpy's.
        inputs: dict of `Input`.
        argument: string. What the batch is called there.

    Raises:
        ValueError: that names what is missing, unknown or wrong.
    """
    check_names(batch, inputs, argument)
    given = without_none(batch)
    for name, x in given.items():
        if not hasattr(x, "shape"):
            raise ValueError(
                f"`{name}` must be an array. Received: {name} of type "
                f"{type(x).__name__}"
            )
    if any(0 in tuple(x.shape) for x in given.values()):
        raise ValueError(
            f"`{argument}` must not be empty. Received: shapes {_shapes(given)}"
        )
    for name, x in given.items():
        _check_shape(name, tuple(x.shape), inputs[name].shapes)
        _check_kind(name, x, inputs[name])
    _check_same_sides(given, inputs, argument)


def check_names(batch, inputs, argument):
    """Refuses what is no dict, lacks a name or has one of its own."""
    required = [n for n, spec in inputs.items() if not spec.is_optional]
    if not isinstance(batch, dict):
        problem, names = f"missing: {required}", ()
    else:
        names = [name for name, x in batch.items() if x is not None]
        missing = [name for name in required if name not in names]
        unknown = sorted(map(str, set(names) - set(inputs)))
        problem = f"missing: {missing}" if missing else ""
        if unknown:
            problem += ", " * bool(problem) + f"unknown: {unknown}"
    if problem:
        raise ValueError(
            f"`{argument}` must be a dict of {sorted(required)}; {problem}. "
            f"Received: {describe(batch)}"
        )


def describe(data):
    """What somebody gave, in words and without its values."""
    if isinstance(data, dict):
        lost = [str(name) for name, x in data.items() if x is None]
        none = f", of which {lost} are None" if lost else ""
        return f"a dict of {sorted(map(str, data))}{none}"
    if hasattr(data, "shape"):
        return f"an array of shape {tuple(data.shape)}"
    if isinstance(data, list | tuple):
        kinds = sorted({type(x).__name__ for x in data})
        return f"{type(data).__name__} of {len(data)} ({', '.join(kinds)})"
    return f"{type(data).__name__}"


def _shapes(arrays):
    return {name: tuple(x.shape) for name, x in arrays.items()}


def _check_shape(name, shape, shapes):
    def fits(expected):
        return len(shape) == 1 + len(expected) and all(
            isinstance(wanted, str) or side in (wanted, None)
            for side, wanted in zip(shape[1:], expected, strict=True)
        )

    if not any(fits(expected) for expected in shapes):
        valid = " or ".join(_in_words(expected) for expected in shapes)
        raise ValueError(
            f"`{name}` must be of shape {valid}. Received: {name}.shape={shape}"
        )


def _in_words(shape):
    sides = ["batch", *map(str, shape)]
    return f"({', '.join(sides)})" if len(sides) > 1 else "(batch,)"


def _check_same_sides(arrays, inputs, argument):
    lengths = {}
    for name, x in arrays.items():
        shape = tuple(x.shape)
        expected = inputs[name].shapes[0]
        lengths.setdefault("batch", set()).add(shape[0])
        for side, wanted in zip(shape[1:], expected, strict=False):
            if isinstance(wanted, str):
                lengths.setdefault(wanted, set()).add(side)
    for side, values in lengths.items():
        if len(values - {None}) > 1:
            raise ValueError(
                f"The arrays of `{argument}` must have the same {side}. "
                f"Received: shapes {_shapes(arrays)}"
            )


def _check_kind(name, x, spec):
    # Torch says "torch.int32", all others have a name.
    dtype = getattr(x.dtype, "name", str(x.dtype).rpartition(".")[2])
    if spec.high is not None and "int" not in dtype:
        raise ValueError(
            f"`{name}` must be integers. Received: {name}.dtype={dtype}"
        )
    if not isinstance(x, np.ndarray):
        return
    if x.dtype.kind not in "biuf" and not x.dtype.name.startswith("bfloat"):
        raise ValueError(
            f"`{name}` must be numbers. Received: {name}.dtype={x.dtype}"
        )
    if spec.high is not None and not _is_in(x, spec.high):
        raise ValueError(
            f"`{name}` must be {spec.what} in [0, {spec.high}). "
            f"Received: values from {x.min()} to {x.max()}"
        )
    if spec.is_flag:
        check_flags(x, name)


def _is_in(ids, high):
    return ids.min() >= 0 and ids.max() < high


# === Arrays of any kind ===


def as_native(data):
    """Lists and numpy arrays as numpy arrays in this machine's byte order.

    Keras reads arrays of another byte order as other numbers, or not at all.
    Unsigned integers of 64 bits become signed.
    Tensors, tuples and datasets stay as they are.

    Args:
        data: array or list, or dict of them.
    """
    if isinstance(data, dict):
        return {name: as_native(x) for name, x in data.items()}
    if isinstance(data, list):
        data = _as_array(data)
    if isinstance(data, np.ndarray) and not data.dtype.isnative:
        data = data.astype(data.dtype.newbyteorder("="))
    if isinstance(data, np.ndarray) and data.dtype == "uint64":
        data = data.astype("int64")  # Torch has no other of 64 bits
    return data


def _as_array(values):
    try:
        return np.asarray(values)
    except ValueError:  # rows of several lengths
        return np.empty(len(values), object)
