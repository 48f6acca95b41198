"""PyTorch's own reader of its files."""

import os
import pickle
import zipfile

from keras_muse.files.damage import reading

# Classes that only describe a training. An empty class takes their place.
_DESCRIPTIONS = (
    "argparse.Namespace",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
)


def load_checkpoint(path):
    """What a file of PyTorch holds, read with `weights_only`.

    What is in an archive stays on the disk until it is used.
    """
    path = os.fspath(path)
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"`{path}` is a file of PyTorch: `pip install torch` to read it."
        ) from error
    descriptions = [(type("Description", (), {}), d) for d in _DESCRIPTIONS]
    with reading(path), torch.serialization.safe_globals(descriptions):
        try:
            return torch.load(
                path,
                map_location="cpu",
                weights_only=True,
                mmap=zipfile.is_zipfile(path),
            )
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"`{path}` is a pickle of more than tensors, and what it asks "
                f"for could run code: it is refused. {_reason(error)}"
            ) from error


def to_numpy(tensor, name):
    """A tensor as an array; 16-bit floats, which numpy lacks, in 32 bits."""
    import torch

    if tensor.dtype.itemsize == 1 and tensor.is_floating_point():
        raise ValueError(
            f"Tensor `{name}` is of {tensor.dtype}: 8-bit floats are not read, "
            "take the weights in 16 or 32 bits"
        )
    # A few bytes can claim any shape, if all its rows are one.
    needed = tensor.numel() * tensor.dtype.itemsize
    if tensor.layout != torch.strided or needed > _num_bytes(tensor):
        raise ValueError(f"Tensor `{name}` is not stored as a whole")
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor.float()
    return tensor.numpy()


def _num_bytes(tensor):
    return tensor.untyped_storage().nbytes()


def _reason(error):
    """The line of PyTorch's long advice that says what was asked for."""
    lines = str(error).splitlines() or [""]
    return next((line for line in lines if "nsupported" in line), lines[0])
