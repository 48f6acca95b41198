"""PyTorch's own reader of its files."""

import pickle

# Classes that only describe a training. An empty class takes their place.
_DESCRIPTIONS = (
    "argparse.Namespace",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
)


def load_checkpoint(path):
    """What a file of PyTorch holds, read with `weights_only`."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"`{path}` is a file of PyTorch: `pip install torch` to read it."
        ) from error
    descriptions = [(type("Description", (), {}), d) for d in _DESCRIPTIONS]
    try:
        with torch.serialization.safe_globals(descriptions):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"`{path}` is a pickle of more than tensors, and what it asks for "
            f"could run code: it is refused. {_reason(error)}"
        ) from error
    except (EOFError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"`{path}` cannot be read; it may be cut short: {_reason(error)}"
        ) from error


def _reason(error):
    """The line of PyTorch's long advice that says what was asked for."""
    lines = str(error).splitlines() or [""]
    return next((line for line in lines if "nsupported" in line), lines[0])
