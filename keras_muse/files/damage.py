"""What a damaged file brings about, told as one error.

Libraries say of a damaged file whatever they stumble over: a `KeyError`, a
`RecursionError`, a line of HDF5's. Everything that this package opens is read
inside of `reading`, and what is read is checked by `check_numbers`.
"""

import contextlib
import os

import ml_dtypes
import numpy as np

CANNOT_BE_READ = "cannot be read; it may be damaged or cut short"
_LONGEST_REASON = 1000


@contextlib.contextmanager
def reading(path, problem=CANNOT_BE_READ):
    """Turns whatever goes wrong inside into a `ValueError` with the path.

    An error that names the path already stays as it is. So do the lack of
    memory, and of a package: they say nothing of the file.

    Args:
        path: string or path of what is read: a file or a directory.
        problem: string. What is the matter with it, in words that follow the
            path.
    """
    path = os.fspath(path)
    try:
        yield
    except MemoryError:
        raise
    except (ValueError, ImportError) as error:
        if path in str(error):
            raise
        raise ValueError(f"`{path}` {problem}: {_reason(error)}") from error
    except Exception as error:
        raise ValueError(f"`{path}` {problem}: {_reason(error)}") from error


def _reason(error):
    """What an error says; of a `KeyError` that is a name alone."""
    words = str(error)[:_LONGEST_REASON]
    if isinstance(error, ValueError):
        return words
    return f"{type(error).__name__}: {words}"


def check_numbers(array, name):
    """Raises unless an array has finite numbers of a kind that weights have.

    Args:
        array: numpy array.
        name: string. The name of the tensor, for the message.
    """
    is_half = array.dtype == ml_dtypes.bfloat16
    if "float8" in array.dtype.name:
        raise ValueError(
            f"Tensor `{name}` is of {array.dtype.name}: 8-bit floats are not "
            "read, take the weights in 16 or 32 bits"
        )
    if array.dtype.kind not in "biuf" and not is_half:
        raise ValueError(f"Tensor `{name}` is of {array.dtype}, not of numbers")
    if (is_half or array.dtype.kind == "f") and not _is_finite(array):
        raise ValueError(f"Tensor `{name}` has values that are NaN or infinite")


def _is_finite(array):
    # The sum takes no memory, and is finite unless a number is not; large
    # numbers may add up to infinity, and are looked at one by one.
    with np.errstate(all="ignore"):
        return bool(
            np.isfinite(array.sum(dtype="float32")) or np.isfinite(array).all()
        )
