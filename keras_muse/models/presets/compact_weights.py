"""Weights in 8 and 16 bits, for what ships with the package."""

import numpy as np
import safetensors.numpy
from keras import ops

from keras_muse.files.weight_files import SafetensorsFiles
from keras_muse.files.whole import write_whole_file

FILE = "model.safetensors"
GROUP_SIZES = range(64, 31, -1)  # neighbours that share a scale
EXACT = "quantizer"  # a code is known by the exact numbers of the codebook


def compress(tensors):
    """Matrices as int8 with scales beside them, other floats as float16.

    Integers and a codebook stay as they are.

    Args:
        tensors: dict of arrays by name.

    Returns:
        Dict of arrays. A matrix has a second one, `<name>.scale`: float16
        of shape `(rows, groups)`, one for so many neighbours in a row.
    """
    compact = {}
    for name, tensor in tensors.items():
        if tensor.dtype.kind != "f" or EXACT in name:
            compact[name] = tensor
            continue
        is_matrix = tensor.ndim == 2 and len(tensor) > 2
        sizes = [
            n for n in GROUP_SIZES if is_matrix and tensor.shape[1] % n == 0
        ]
        if not sizes:
            compact[name] = tensor.astype("float16")
            continue
        rows = tensor.astype("float32").reshape(
            len(tensor), -1, sizes[0]
        )  # (rows, groups, neighbours)
        scale = (np.abs(rows).max(axis=2) / 127).astype("float16")
        step = np.where(scale, scale, 1).astype("float32")[:, :, None]
        levels = np.clip(np.rint(rows / step), -127, 127).astype("int8")
        compact[name] = levels.reshape(tensor.shape)
        compact[f"{name}.scale"] = scale
    return compact


def save(model, path):
    """Writes the weights of a model, compressed, to a file."""
    tensors = {_name(v): ops.convert_to_numpy(v.value) for v in model.weights}
    contents = safetensors.numpy.save(compress(tensors))
    with write_whole_file(path) as part, open(part, "wb") as file:
        file.write(contents)


def load(model, directory):
    """Puts what `save` wrote into a model.

    Args:
        model: a model whose weights are to be loaded.
        directory: string. A directory or a handle with a `FILE`.

    Raises:
        ValueError: if a tensor is missing, left over, damaged or of another
            shape; it is named.
    """
    with SafetensorsFiles(directory, FILE) as files:
        variables = {_name(v): v for v in model.weights}
        # A scale whose matrix is of another type would be passed over.
        scaled = [name for name in variables if files.is_in_8_bits(name)]
        known = {*variables, *(f"{name}.scale" for name in scaled)}
        if left_over := sorted(files.names() - known):
            raise ValueError(
                f"Tensor `{left_over[0]}` is no weight of the model, nor the "
                "scale of one in 8 bits. "
                f"{files.received}"
            )
        for name, variable in variables.items():
            files.assign(variable, name)


def _name(variable):
    """The path of a variable below its model, whatever that is called."""
    return variable.path.partition("/")[2]
