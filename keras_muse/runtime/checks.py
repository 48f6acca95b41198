"""Arguments from people, checked before anything is computed.

Each function returns the value in plain Python or numpy, whatever library it
came from, or raises a `ValueError` that names the argument and says what was
received.
"""

import math
import operator
import os

import keras
import numpy as np

LARGEST_INT = 2**31 - 1
LARGEST_SEED = 2**63 - 1  # of what numpy draws
# Beyond, what guidance mixes would overflow.
LARGEST_GUIDANCE_SCALE = 1e6
LARGEST_BATCH = 2**16  # rows; a short batch is filled up to it


def check_int(value, argument, low=1, high=LARGEST_INT):
    """An integer of any library as an int.

    Args:
        value: int, or integer scalar of numpy or a backend. No bool.
        argument: string. What the caller calls it.
        low: int. The smallest value that is valid. Defaults to `1`.
        high: int. The largest.
    """
    try:
        is_scalar = not _is_bool(value) and np.ndim(value) == 0
        number = operator.index(value) if is_scalar else None
    except Exception:  # each library has its own
        number = None
    if number is None or not low <= number <= high:
        if high != LARGEST_INT:
            valid = f"an integer from {low} to {high}"
        else:
            valid = {
                0: "an integer, 0 or more",
                1: "a positive integer",
            }.get(low, f"an integer of at least {low}")
        raise ValueError(
            f"`{argument}` must be {valid}. Received: {argument}={show(value)}"
        )
    return number


def check_batch_size(value, argument="batch_size"):
    """Rows of a batch that is filled up, as an int."""
    return check_int(value, argument, high=LARGEST_BATCH)


def check_ints(value, argument, low=1, length=None):
    """Several integers as a tuple of ints.

    Args:
        value: list, tuple or array of integers.
        argument: string. What the caller calls it.
        low: int. The smallest value that is valid. Defaults to `1`.
        length: int or `None`. How many there must be. Defaults to any number.
    """
    valid = {2: "two", 4: "four"}.get(length, "several")
    try:
        if isinstance(value, str | bytes | dict | set) or np.ndim(value) != 1:
            raise ValueError("no sequence")
        numbers = tuple(check_int(x, argument, low) for x in value)
    except Exception:
        numbers = None
    if not numbers or length not in (None, len(numbers)):
        raise ValueError(
            f"`{argument}` must be {valid} integers of at least {low}. "
            f"Received: {argument}={show(value)}"
        )
    return numbers


def check_number(value, argument, low=-math.inf, high=math.inf, open_at=""):
    """A finite real number of any library as a float.

    Args:
        value: float or int, or scalar of numpy or a backend. No bool.
        argument: string. What the caller calls it.
        low: float. The smallest value that is valid.
        high: float. The largest.
        open_at: `""`, `"low"`, `"high"` or `"low high"`: the ends that are
            not valid themselves.
    """
    number = _as_float(value)
    # Models compute in float32, where 1e-50 is 0 and 1e39 is infinite.
    with np.errstate(all="ignore"):
        rounded = float(np.float32(number))
    if not (
        math.isfinite(rounded)
        and low <= number <= high
        and not ("low" in open_at and low in (number, rounded))
        and not ("high" in open_at and high in (number, rounded))
    ):
        raise ValueError(
            f"`{argument}` must be a finite number"
            f"{_describe_range(low, high, open_at)}. Received: "
            f"{argument}={show(value)}"
        )
    return number


def _as_float(value):
    """A real scalar as a float; anything else as NaN."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    is_other = isinstance(value, str | bytes | bytearray) or kind in "mMOSUV"
    try:
        if is_other or _is_bool(value) or np.iscomplexobj(value):
            return math.nan
        return float(value) if np.ndim(value) == 0 else math.nan
    except Exception:  # each library has its own
        return math.nan


def check_bool(value, argument):
    """A bool of any library as a bool."""
    if not _is_bool(value) or np.ndim(value) != 0:
        raise ValueError(
            f"`{argument}` must be True or False. Received: "
            f"{argument}={show(value)}"
        )
    return bool(value)


def check_choice(value, argument, choices):
    """One of a few values, such as names, as it came.

    Args:
        value: anything.
        argument: string. What the caller calls it.
        choices: sequence of strings, ints and `None`.
    """
    is_simple = value is None or isinstance(value, str | int)
    if not is_simple or value not in choices:
        raise ValueError(
            f"`{argument}` must be one of {list(choices)}. Received: "
            f"{argument}={show(value)}"
        )
    return str(value) if isinstance(value, str) else value


def check_guidance_scale(value, argument="guidance_scale"):
    """A guidance scale as a float."""
    return check_number(value, argument, low=0, high=LARGEST_GUIDANCE_SCALE)


def check_verbose(value):
    """Whether to draw a progress bar, in Keras' words."""
    return check_choice(value, "verbose", ("auto", 0, 1, 2))


def check_function(value, argument):
    """A function, or `None`, as it came."""
    if value is not None and not callable(value):
        raise ValueError(
            f"`{argument}` must be a function. Received: "
            f"{argument}={show(value)}"
        )
    return value


def check_model(value, argument, attribute):
    """A model, known by an attribute, as it came."""
    if not hasattr(value, attribute):
        raise ValueError(
            f"`{argument}` must be a model, one with `{attribute}`. Received: "
            f"{argument}={show(value)}"
        )
    return value


def check_built(model):
    """Refuses a model without weights where what was saved is loaded."""
    if not model.built:
        raise ValueError(
            "The model must be built before it is restored. Received: "
            f"model={model.name!r}, without weights"
        )


def check_path(value, argument):
    """A path of a file system or an object store, as a string."""
    path = value if isinstance(value, str) else None
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError(
            f"`{argument}` must be a string or a path, not empty. Received: "
            f"{argument}={show(value)}"
        )
    return path


def show(value):
    """What was received, in few words: no array is printed."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple | list) and len(shape):
        dtype = getattr(value, "dtype", "?")
        return f"{type(value).__name__} of {dtype} and shape {tuple(shape)}"
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:197]}..."


def _describe_range(low, high, open_at):
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f" above {low}" if "low" in open_at else f" of at least {low}"
    opening = "(" if "low" in open_at or math.isinf(low) else "["
    closing = ")" if "high" in open_at else "]"
    return f" in {opening}{low}, {high}{closing}"


def _is_bool(value):
    return isinstance(value, bool | np.bool_) or (
        "bool" in str(getattr(value, "dtype", ""))
    )


# === Texts ===


def check_texts(texts, argument, low=1):
    """Texts as a list of strings.

    Args:
        texts: string, or list, tuple or array of strings.
        argument: string. What the caller calls it.
        low: int. How many there must be. Defaults to `1`.
    """
    if isinstance(texts, np.ndarray) and texts.ndim <= 1:
        texts = texts.tolist()
    texts = [texts] if isinstance(texts, str) else texts
    received = f"{argument}={show(texts)} of type {type(texts).__name__}"
    valid = isinstance(texts, list | tuple) and len(texts) >= low
    for i, text in enumerate(texts if valid else ()):
        if not isinstance(text, str) or not is_whole(text):
            valid = False
            received = (
                f"{argument}[{i}]={show(text)} of type {type(text).__name__}"
            )
            break
    if not valid:
        raise ValueError(
            f"`{argument}` must be a string or a list of strings"
            f"{', not empty' if low else ''}. Received: {received}"
        )
    return list(texts)


def is_whole(text):
    """Whether a string has no half of a character in it, as `"\\ud83d"`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# === Arrays ===


def check_array(values, argument):
    """Numbers as a numpy array, in this machine's byte order.

    Args:
        values: array of any library, or nested lists.
        argument: string. What the caller calls it.
    """
    try:
        array = values
        if not isinstance(values, np.ndarray | list | tuple):
            array = keras.ops.convert_to_numpy(values)
        array = np.asarray(array)
    except Exception as error:  # each library has its own
        raise ValueError(
            f"`{argument}` must be an array, or rectangular nested lists. "
            f"Received: {argument} of type {type(values).__name__}"
        ) from error
    if "bfloat16" in str(array.dtype):
        array = array.astype("float32")
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"`{argument}` must be numbers. Received: "
            f"{argument}.dtype={array.dtype}"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def check_finite_array(values, argument):
    """The same of finite numbers, as float32."""
    array = check_array(values, argument)
    with np.errstate(over="ignore"):
        array = array.astype("float32")
    if not np.isfinite(array).all():
        raise ValueError(
            f"`{argument}` must be finite. Received: {argument} with "
            f"{(~np.isfinite(array)).sum()} NaN or infinite values"
        )
    return array


def check_flags(values, argument):
    """Refuses a numpy array of other numbers than 0 and 1."""
    if not np.isin(values, (0, 1)).all():
        raise ValueError(
            f"`{argument}` must be bool, or 0 and 1. Received: values from "
            f"{values.min()} to {values.max()}"
        )


# === Pictures ===


def check_image_shape(images, argument="images", size=None):
    """Raises unless an array or tensor has the shape of pictures.

    Args:
        images: array or tensor.
        argument: string. What the caller calls it.
        size: pair of ints `(height, width)`, or `None` for any.
    """
    if not hasattr(images, "shape"):
        raise ValueError(
            f"`{argument}` must be an array of pictures. Received: "
            f"{argument} of type {type(images).__name__}"
        )
    shape = tuple(images.shape)
    valid = len(shape) == 4 and shape[-1] == 3 and 0 not in shape
    if not valid or (size is not None and shape[1:3] != tuple(size)):
        height, width = size or ("height", "width")
        raise ValueError(
            f"`{argument}` must be of shape (batch, {height}, {width}, 3), "
            f"and not empty. Received: {argument}.shape={shape}"
        )
