"""Room for a file, looked for before it is written.

HDF5 does not bear a full disk: the process ends in a segmentation fault, now
or when it exits.
"""

import ctypes
import errno
import os
import shutil
import sys
import tempfile

import ml_dtypes  # noqa: F401  (numpy knows bfloat16 with it)
import numpy as np

# What HDF5 keeps beside an array: names, shapes, trees of groups.
BYTES_PER_ARRAY = 4096
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def hdf5_size(arrays):
    """An upper bound of the bytes of arrays in a file of HDF5.

    Args:
        arrays: list of what has `shape` and `dtype`.
    """
    arrays = {id(array): array for array in arrays}.values()
    return BYTES_PER_ARRAY + sum(
        BYTES_PER_ARRAY
        + int(np.prod(array.shape, dtype="int64"))
        * np.dtype(array.dtype).itemsize
        for array in arrays
    )


def check_space(path, num_bytes):
    """Raises unless a file of so many bytes can be written now.

    Args:
        path: string or path of the file, in a directory that exists.
        num_bytes: int.

    Raises:
        OSError: as the system gives it, with the path.
    """
    path = os.fspath(path)
    directory = os.path.dirname(os.path.abspath(path))
    if num_bytes > shutil.disk_usage(directory).free:
        _refuse(errno.ENOSPC, path)
    # Quotas, and limits of the process.
    with tempfile.TemporaryFile(dir=directory) as file:
        number = _allocate(file.fileno(), num_bytes)
    if number:
        _refuse(number, path)


def _refuse(number, path):
    raise OSError(number, os.strerror(number), path)


def _allocate(descriptor, num_bytes):
    """Takes room on the disk, at once; the number of the error, or 0.

    `os.posix_fallocate` would write, where a file system has no such call.
    """
    if sys.platform != "linux":
        return 0
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "fallocate64"):
        return 0
    allocate = library.fallocate64
    allocate.argtypes = [ctypes.c_int] * 2 + [ctypes.c_int64] * 2
    if allocate(descriptor, 0, 0, num_bytes) == 0:
        return 0
    number = ctypes.get_errno()
    return 0 if number in _UNSUPPORTED else number
