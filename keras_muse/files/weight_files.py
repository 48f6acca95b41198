"""Weights of presets: safetensors and HDF5, in one file or many."""

import contextlib
import functools
import os

import safetensors

from keras_muse.files import hub
from keras_muse.files.damage import reading
from keras_muse.files.hdf5 import open_hdf5
from keras_muse.files.hdf5 import read_array
from keras_muse.files.tensors import NamedTensors


class WeightFiles(NamedTensors):
    """Tensors of a preset, read one at a time.

    Shards are downloaded and opened when the first of their tensors is asked
    for. A subclass knows a format: `_open`, `_names_in` and `_find_in`.

    Args:
        preset: string. A directory, a handle or a name that KerasHub knows.
        file: string. The place in it of the weights, or of a `.json` that
            names the file of each tensor.
    """

    def __init__(self, preset, file):
        super().__init__(preset)
        self.folder, self.file = os.path.split(file)
        self._open_files = {}
        self._closing = contextlib.ExitStack()
        self._files_of_tensor = None
        if file.endswith(".json"):
            self._files_of_tensor = hub.weight_map(preset, file)

    def _open(self, path):
        """A file that is open, by its local path."""
        raise NotImplementedError

    def _names_in(self, opened):
        """Names of the tensors in a file, a set."""
        raise NotImplementedError

    def _find_in(self, opened, name):
        """A tensor of a file as an array, or `None`."""
        raise NotImplementedError

    def names(self):
        if self._files_of_tensor is not None:
            return set(self._files_of_tensor)
        return self._single_names

    @functools.cached_property
    def _single_names(self):
        with reading(self._place(self.file)):
            return self._names_in(self._file(self.file))

    def _find(self, name):
        # The variables of one layer of Keras may be spread over many.
        for file in self._files(name):
            tensor = self._find_in(self._file(file), name)
            if tensor is not None:
                return tensor
        return None

    def _files(self, name):
        """Names of the files that a tensor may be in, a list."""
        if self._files_of_tensor is None:
            return [self.file]
        return self._files_of_tensor.get(name, [])

    def _path(self, name):
        return self._place((self._files(name) or [self.file])[0])

    def _place(self, file):
        return os.path.join(self.source, self.folder, file)

    def _file(self, file):
        if file not in self._open_files:
            path = os.path.join(self.folder, file)
            path = hub.local_file(self.source, path)
            with reading(path):
                self._open_files[file] = self._open(path)
        return self._open_files[file]

    def close(self):
        self._open_files.clear()
        self._closing.close()


class SafetensorsFiles(WeightFiles):
    """Hugging Face's format, where an int8 matrix has scales beside it.

    `<name>.scale` has shape `(rows, groups)`: one scale for so many
    neighbours in a row.
    """

    def _open(self, path):
        return self._closing.enter_context(
            safetensors.safe_open(path, framework="np")
        )

    def is_in_8_bits(self, name):
        """Whether a tensor is a matrix of int8, to which a scale belongs."""
        if name not in self.names():
            return False
        with reading(self._path(name)):
            opened = self._file(self._files(name)[0])
            return opened.get_slice(name).get_dtype() == "I8"

    def _names_in(self, opened):
        return set(opened.keys())

    def _find_in(self, opened, name):
        if name not in opened.keys():
            return None
        dtype = opened.get_slice(name).get_dtype()
        if dtype.startswith(("F8_", "F6_", "F4")):
            raise ValueError(
                f"Tensor `{name}` is of {dtype}: floats of 8 bits and fewer "
                "are not read, take the weights in 16 or 32 bits"
            )
        tensor = opened.get_tensor(name)
        if tensor.dtype == "int8":
            scale = self.read(f"{name}.scale")
            if scale.ndim != 2 or len(scale) != len(tensor):
                raise ValueError(
                    f"Tensor `{name}.scale` must have a row for each of "
                    f"`{name}`, and has shape {scale.shape}"
                )
            if (scale < 0).any():
                raise ValueError(f"Tensor `{name}.scale` is in part below 0")
            groups = tensor.reshape(*scale.shape, -1)
            return (groups * scale[:, :, None]).reshape(tensor.shape)
        return tensor


class SafetensorsFile(SafetensorsFiles):
    """One file, by its path.

    Args:
        path: string or path.
    """

    argument = "weights"

    def __init__(self, path):
        directory, file = os.path.split(os.path.abspath(path))
        super().__init__(directory, file)
        self.source = os.fspath(path)

    def _place(self, file):
        return self.source

    def _file(self, file):
        if not self._open_files:
            with reading(self.source):
                self._open_files[file] = self._open(self.source)
        return self._open_files[file]


class KerasWeightsFiles(WeightFiles):
    """Keras's format, where a name is a path such as `layers/dense/vars/0`."""

    def _open(self, path):
        return self._closing.enter_context(open_hdf5(path))

    def has_group(self, path):
        """Whether any tensor lies under a path."""
        if self._files_of_tensor is not None:
            return any(
                f"{name}/".startswith(f"/{path}/")
                for name in self._files_of_tensor
            )
        with reading(self._place(self.file)):
            return path in self._file(self.file)

    def _find_in(self, opened, name):
        return read_array(opened[name]) if name in opened else None

    def _files(self, name):
        if self._files_of_tensor is None:
            return [self.file]
        group = name.rpartition("/")[0]
        return self._files_of_tensor.get(f"/{group}", [])
