"""Arguments from people, checked before anything is computed.

Each function returns the value in plain Python or numpy, whatever library it
came from, or raises a `ValueError` that names the argument and says what was
received.
"""

import math
import operator

import numpy as np

LARGEST_INT = 2**31 - 1


def check_int(value, argument, low=1, high=LARGEST_INT):
    """An integer of any library as an int.

    Args:
        value: int, or integer scalar of numpy or a backend. No bool.
        argument: string. What the caller calls it.
        low: int. The smallest value that is valid. Defaults to `1`.
        high: int. The largest.
    """
    try:
        number = None if _is_bool(value) else operator.index(value)
    except TypeError:
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
            f"`{argument}` must be {valid}. Received: {argument}={value!r}"
        )
    return number


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
    number = math.nan
    is_other = isinstance(value, str | bytes) or np.iscomplexobj(value)
    if not is_other and not _is_bool(value):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            pass
    valid = math.isfinite(number) and low <= number <= high
    if (
        not valid
        or ("low" in open_at and number == low)
        or ("high" in open_at and number == high)
    ):
        raise ValueError(
            f"`{argument}` must be a finite number"
            f"{_describe_range(low, high, open_at)}. Received: "
            f"{argument}={value!r}"
        )
    return number


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


# === Pictures ===


def check_image_shape(images, argument="images", size=None):
    """Raises unless an array or tensor has the shape of pictures.

    Args:
        images: array or tensor.
        argument: string. What the caller calls it.
        size: pair of ints `(height, width)`, or `None` for any.
    """
    shape = tuple(images.shape)
    valid = len(shape) == 4 and shape[-1] == 3 and 0 not in shape
    if not valid or (size is not None and shape[1:3] != tuple(size)):
        height, width = size or ("height", "width")
        raise ValueError(
            f"`{argument}` must be of shape (batch, {height}, {width}, 3), "
            f"and not empty. Received: {argument}.shape={shape}"
        )
