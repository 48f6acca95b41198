"""HDF5 files as data, and nothing else.

HDF5 can name other files: a group by a link, an array by "external storage".
A file of weights from a stranger could so read any file of the machine; and a
tiny one can declare an array of gigabytes. All HDF5 files that this package
reads are opened here.
"""

import contextlib
import os

import h5py

# Weights hardly compress; what unpacks to more is not weights.
MAX_EXPANSION = 1000
SMALL = 2**20  # bytes that any array may have


@contextlib.contextmanager
def open_hdf5(path):
    """Opens a file to read that holds numbers of its own only.

    Args:
        path: string or path.

    Yields:
        `h5py.File`.

    Raises:
        ValueError: if the file is damaged, or holds anything else; the path
            and what is wrong are named.
    """
    path = os.fspath(path)
    try:
        with h5py.File(path, "r") as file:
            _check_group(file)
            yield file
    except (OSError, RuntimeError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{path!r} cannot be read; it may be cut short: {error}"
        ) from error


def check_hdf5(path):
    """Raises unless `open_hdf5` opens a file."""
    with open_hdf5(path):
        pass


def _check_group(group):
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            _refuse(group, name, f"is a {type(link).__name__}")
        item = group[name]
        if isinstance(item, h5py.Group):
            _check_group(item)
        elif isinstance(item, h5py.Dataset):
            _check_dataset(group, name, item)
        else:
            _refuse(group, name, f"is a {type(item).__name__}")


def _check_dataset(group, name, dataset):
    if dataset.external or dataset.is_virtual:
        _refuse(group, name, "lies in another file")
    is_bytes = dataset.dtype.kind == "V" and dataset.dtype.fields is None
    if dataset.dtype.kind not in "biufSO" and not is_bytes:
        _refuse(group, name, f"is of {dataset.dtype}")
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > max(SMALL, MAX_EXPANSION * stored):
        _refuse(group, name, f"claims {dataset.nbytes} bytes and has {stored}")


def _refuse(group, name, why):
    raise RuntimeError(f"`{group.name.rstrip('/')}/{name}` {why}")
