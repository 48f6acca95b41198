"""Reading the pickles of PyTorch without running what they hold."""

import os

from keras_muse.files import _torch
from keras_muse.files import hub
from keras_muse.files.tensors import NamedTensors
from keras_muse.files.weight_files import WeightFiles

# Where training scripts keep the weights in a checkpoint, best first.
_WEIGHTS = ("ema", "model", "state_dict")


class TorchFiles(NamedTensors):
    """Tensors of a `.ckpt`, `.pt` or `.pth` file by name.

    PyTorch reads it with `weights_only`: a pickle that asks for any function
    or class beyond tensors is refused. With the class as a context manager,
    the tensors are let go at the end.

    Args:
        preset: string. A directory or handle that KerasHub knows, or the path
            of the file itself.
        file: string. Name of the file in the directory.
        folder: string. Where in the directory the file is. Defaults to its
            root.

    Raises:
        ValueError: if the file is absent, damaged, holds no tensors or wants
            to run code.
        ImportError: if PyTorch is not installed.
    """

    def __init__(self, preset, file="", folder=""):
        super().__init__(preset)
        path = preset
        if not os.path.isfile(preset):
            path = os.path.join(folder, file)
            if not hub.has_file(preset, path):
                raise ValueError(f"`preset` has no `{path}`. {self.received}")
            path = hub.local_file(preset, path)
        self._local_path = path
        self._tensors = load_tensors(path)

    def names(self):
        return set(self._tensors)

    def _path(self, name):
        return self._local_path

    def _find(self, name):
        return _find(self._tensors, name)

    def close(self):
        self._tensors = {}


class TorchWeightFiles(WeightFiles):
    """The `.bin` files of Hugging Face: one, or many with an index."""

    def _open(self, path):
        return load_tensors(path)

    def _names_in(self, tensors):
        return set(tensors)

    def _find_in(self, tensors, name):
        return _find(tensors, name)


def load_tensors(path):
    """The weights in a file of PyTorch: a dict of tensors by name."""
    checkpoint = tensors = _torch.load_checkpoint(path)
    if isinstance(checkpoint, dict):
        for key in _WEIGHTS:
            if isinstance(checkpoint.get(key), dict):
                tensors = checkpoint[key]
                break
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and hasattr(tensor, "numpy")
        for name, tensor in tensors.items()
    ):
        received = f"a {type(checkpoint).__name__}"
        if isinstance(checkpoint, dict):
            received += f" of {[str(key) for key in checkpoint][:10]}"
        raise ValueError(
            f"`{path}` holds no tensors by name, neither alone nor as one of "
            f"{list(_WEIGHTS)}. Received: {received}"
        )
    return tensors


def _find(tensors, name):
    tensor = tensors.get(name)
    return None if tensor is None else _torch.to_numpy(tensor, name)
