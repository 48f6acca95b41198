"""HDF5 files as data, and nothing else.

HDF5 can name other files: a group by a link, an array by "external storage".
A file of weights from a stranger could so read any file of the machine; and a
tiny one can declare an array of gigabytes. All HDF5 files that this package
reads are opened here.
"""

import contextlib
import os

import h5py
import ml_dtypes

from keras_muse.files.damage import check_numbers
from keras_muse.files.damage import reading

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
    with reading(path):
        with h5py.File(path, "r") as file:
            _check_group(file)
            yield file


def check_weights(path, largest):
    """Raises unless a file holds finite weights, none of them too large.

    Args:
        path: string or path.
        largest: int. The most bytes that one of them may have.
    """

    def check(name, item):
        if not isinstance(item, h5py.Dataset):
            return
        if item.nbytes > max(SMALL, largest):
            raise ValueError(
                f"Tensor `{name}` of shape {item.shape} is larger than any of "
                "the model's"
            )
        if item.dtype.kind not in "OS":
            check_numbers(read_array(item), name)

    with open_hdf5(path) as file:
        file.visititems(check)


def read_array(dataset):
    """What is in a dataset, also in Keras' form of bfloat16."""
    value = dataset[()]
    # HDF5 has no bfloat16: Keras writes its bytes and says so beside them.
    if dataset.attrs.get("dtype") == "bfloat16":
        value = value.view(ml_dtypes.bfloat16)
    return value


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
