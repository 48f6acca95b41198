"""Reading published weights and writing presets, file by file."""

import contextlib
import os

import h5py
import ml_dtypes
import safetensors
from keras_hub.src.utils import preset_utils


class WeightFiles:
    """Tensors of a preset by name, read one at a time.

    Subclasses know one format. Shards are downloaded and opened when the
    first of their tensors is asked for.

    Args:
        preset: string. A directory, a handle or a name that KerasHub knows.
        folder: string. Where in the preset the files are. Defaults to its
            root.
    """

    # A single file, or an index with the file of each tensor.
    single_file = None
    index_file = None

    def __init__(self, preset, folder=""):
        self.preset = preset
        self.folder = folder
        self._file_of_tensor = None
        self._open_files = {}
        single_file, index_file = (
            os.path.join(folder, name)
            for name in (self.single_file, self.index_file)
        )
        if not preset_utils.check_file_exists(preset, single_file):
            if not preset_utils.check_file_exists(preset, index_file):
                raise ValueError(
                    f"`preset` has neither `{single_file}` nor "
                    f"`{index_file}`. Received: preset={preset!r}"
                )
            index = preset_utils.load_json(preset, index_file)
            self._file_of_tensor = index["weight_map"]

    def read(self, name):
        """One tensor as a float32 numpy array."""
        with self._naming(name):
            tensor = self._find(name)
        if tensor is None:
            raise ValueError(
                f"Tensor `{name}` is missing. Received: preset={self.preset!r}"
            )
        return tensor

    def assign(self, variable, name, tensor=None):
        """Puts a tensor into a variable, or refuses it by its name."""
        tensor = self.read(name) if tensor is None else tensor
        if tuple(tensor.shape) != tuple(variable.shape):
            raise ValueError(
                f"Tensor `{name}` has shape {tuple(tensor.shape)}, expected "
                f"{tuple(variable.shape)}. Received: preset={self.preset!r}"
            )
        variable.assign(tensor)

    @contextlib.contextmanager
    def _naming(self, name):
        """Names the tensor when a file is absent, damaged or cut short."""
        try:
            yield
        except (OSError, safetensors.SafetensorError) as error:
            raise ValueError(
                f"Tensor `{name}` cannot be read: {error}. Received: "
                f"preset={self.preset!r}"
            ) from error

    def _file(self, file_name):
        if file_name not in self._open_files:
            path = os.path.join(self.folder, file_name)
            path = preset_utils.get_file(self.preset, path)
            self._open_files[file_name] = self._open(path)
        return self._open_files[file_name]

    def close(self):
        for file in self._open_files.values():
            file.__exit__(None, None, None)
        self._open_files.clear()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class SafetensorsFiles(WeightFiles):
    """Hugging Face's format, where an int8 matrix has scales beside it.

    `<name>.scale` has shape `(rows, groups)`: one scale for so many
    neighbours in a row.
    """

    single_file = preset_utils.SAFETENSOR_FILE
    index_file = preset_utils.SAFETENSOR_CONFIG_FILE

    def _open(self, path):
        return safetensors.safe_open(path, framework="np").__enter__()

    def names(self):
        """Names of all tensors, a set."""
        if self._file_of_tensor is not None:
            return set(self._file_of_tensor)
        with self._naming(self.single_file):
            return set(self._file(self.single_file).keys())

    def __contains__(self, name):
        return name in self.names()

    def _find(self, name):
        if name not in self:
            return None
        file_name = (self._file_of_tensor or {}).get(name, self.single_file)
        tensor = self._file(file_name).get_tensor(name)
        if tensor.dtype == "int8":
            scale = self.read(f"{name}.scale")[:, :, None]
            groups = tensor.reshape(*scale.shape[:2], -1)
            return (groups * scale).reshape(tensor.shape)
        return tensor.astype("float32")


class DiffusersFiles(SafetensorsFiles):
    """The files of a model of `diffusers`."""

    single_file = "diffusion_pytorch_model.safetensors"
    index_file = "diffusion_pytorch_model.safetensors.index.json"


class KerasWeightsFiles(WeightFiles):
    """Keras's format, where a name is a path such as `layers/dense/vars/0`."""

    single_file = preset_utils.MODEL_WEIGHTS_FILE
    index_file = preset_utils.SHARDED_MODEL_WEIGHTS_CONFIG_FILE

    def _open(self, path):
        return h5py.File(path, "r")

    def has_group(self, path):
        """Whether any tensor lies under a path."""
        if self._file_of_tensor is not None:
            return any(
                f"{name}/".startswith(f"/{path}/")
                for name in self._file_of_tensor
            )
        with self._naming(path):
            return path in self._file(self.single_file)

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
                return tensor.astype("float32")
        return None
