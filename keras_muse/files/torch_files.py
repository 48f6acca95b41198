"""Reading the pickles of PyTorch without running what they hold."""

import os

from keras_muse.files import _torch
from keras_muse.files import hub
from keras_muse.files.tensors import NamedTensors

# Where training scripts keep the weights in a checkpoint, best first.
_WEIGHTS = ("ema", "model", "state_dict")


class TorchFiles(NamedTensors):
    """Tensors of a `.ckpt`, `.pt`, `.pth` or `.bin` file by name.

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
        self._tensors = _tensors_of(_torch.load_checkpoint(path), path)

    def names(self):
        return set(self._tensors)

    def _find(self, name):
        tensor = self._tensors.get(name)
        return None if tensor is None else tensor.float().numpy()

    def close(self):
        self._tensors = {}


def _tensors_of(checkpoint, path):
    """The weights in a checkpoint: a dict of tensors by name."""
    tensors = checkpoint
    if isinstance(checkpoint, dict):
        for key in _WEIGHTS:
            if isinstance(checkpoint.get(key), dict):
                tensors = checkpoint[key]
                break
    if not isinstance(tensors, dict) or not all(
        hasattr(tensor, "numpy") for tensor in tensors.values()
    ):
        raise ValueError(
            f"`{path}` holds no tensors by name. Received: a "
            f"{type(checkpoint).__name__}"
        )
    return tensors
