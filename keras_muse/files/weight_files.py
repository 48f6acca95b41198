"""Weights of presets: safetensors and HDF5, in one file or many."""

import os

import h5py
import ml_dtypes
import safetensors

from keras_muse.files import hub
from keras_muse.files.hdf5 import check_hdf5
from keras_muse.files.tensors import NamedTensors


class WeightFiles(NamedTensors):
    """Tensors of a preset, read one at a time.

    Shards are downloaded and opened when the first of their tensors is asked
    for.

    Args:
        preset: string. A directory, a handle or a name that KerasHub knows.
        folder: string. Where in the preset the files are. Defaults to its
            root.
    """

    # A single file, or an index with the file of each tensor.
    single_file = None
    index_file = None

    def __init__(self, preset, folder=""):
        super().__init__(preset)
        self.folder = folder
        self._file_of_tensor = None
        self._open_files = {}
        single_file, index_file = (
            os.path.join(folder, name)
            for name in (self.single_file, self.index_file)
        )
        if not hub.has_file(preset, single_file):
            if not hub.has_file(preset, index_file):
                raise ValueError(
                    f"`preset` has neither `{single_file}` nor "
                    f"`{index_file}`. {self.received}"
                )
            index = hub.read_json(preset, index_file)
            self._file_of_tensor = index["weight_map"]

    def read(self, name):
        try:
            return super().read(name)
        except (OSError, safetensors.SafetensorError) as error:
            raise ValueError(
                f"Tensor `{name}` cannot be read: {error}. {self.received}"
            ) from error

    def _open(self, path):
        """A file that is open, by its local path."""
        raise NotImplementedError

    def _file(self, file_name):
        if file_name not in self._open_files:
            path = os.path.join(self.folder, file_name)
            path = hub.local_file(self.source, path)
            self._open_files[file_name] = self._open(path)
        return self._open_files[file_name]

    def close(self):
        for file in self._open_files.values():
            file.__exit__(None, None, None)
        self._open_files.clear()


class SafetensorsFiles(WeightFiles):
    """Hugging Face's format, where an int8 matrix has scales beside it.

    `<name>.scale` has shape `(rows, groups)`: one scale for so many
    neighbours in a row.
    """

    single_file = hub.SAFETENSORS_FILE
    index_file = hub.SAFETENSORS_INDEX_FILE

    def _open(self, path):
        return safetensors.safe_open(path, framework="np").__enter__()

    def names(self):
        if self._file_of_tensor is not None:
            return set(self._file_of_tensor)
        try:
            return set(self._file(self.single_file).keys())
        except (OSError, safetensors.SafetensorError) as error:
            raise ValueError(
                f"`{self.single_file}` cannot be read: {error}. {self.received}"
            ) from error

    def _find(self, name):
        if name not in self.names():
            return None
        file_name = (self._file_of_tensor or {}).get(name, self.single_file)
        tensor = self._file(file_name).get_tensor(name)
        if tensor.dtype == "int8":
            scale = self.read(f"{name}.scale")[:, :, None]
            groups = tensor.reshape(*scale.shape[:2], -1)
            return (groups * scale).reshape(tensor.shape)
        return tensor


class SafetensorsFile(SafetensorsFiles):
    """One file, by its path.

    Args:
        path: string or path.
    """

    argument = "weights"

    def __init__(self, path):
        directory, self.single_file = os.path.split(os.path.abspath(path))
        super().__init__(directory)
        self.source = os.fspath(path)

    def _file(self, file_name):
        if not self._open_files:
            self._open_files[file_name] = self._open(self.source)
        return self._open_files[file_name]


class DiffusersFiles(SafetensorsFiles):
    """The files of a model of `diffusers`."""

    single_file = "diffusion_pytorch_model.safetensors"
    index_file = "diffusion_pytorch_model.safetensors.index.json"


class KerasWeightsFiles(WeightFiles):
    """Keras's format, where a name is a path such as `layers/dense/vars/0`."""

    single_file = hub.WEIGHTS_FILE
    index_file = hub.WEIGHTS_INDEX_FILE

    def _open(self, path):
        check_hdf5(path)
        return h5py.File(path, "r")

    def has_group(self, path):
        """Whether any tensor lies under a path."""
        if self._file_of_tensor is not None:
            return any(
                f"{name}/".startswith(f"/{path}/")
                for name in self._file_of_tensor
            )
        try:
            return path in self._file(self.single_file)
        except OSError as error:
            raise ValueError(
                f"`{self.single_file}` cannot be read: {error}. {self.received}"
            ) from error

    def _find(self, name):
        file_names = self.single_file
        if self._file_of_tensor is not None:
            group = name.rpartition("/")[0]
            file_names = self._file_of_tensor.get(f"/{group}", [])
        # The variables of one layer may be spread over several shards.
        if isinstance(file_names, str):
            file_names = [file_names]
        for file_name in file_names:
            file = self._file(file_name)
            if name in file:
                tensor = file[name][...]
                if file[name].attrs.get("dtype") == "bfloat16":
                    tensor = tensor.view(ml_dtypes.bfloat16)
                return tensor
        return None
