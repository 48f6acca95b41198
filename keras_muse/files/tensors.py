"""Tensors by name: read one at a time, and put into a model by a table."""

import re

import keras
import numpy as np

from keras_muse.files.damage import check_numbers
from keras_muse.files.damage import reading


class NamedTensors:
    """Tensors of a file, or of several, by name.

    A subclass knows one format: `names` and `_find`. It is a context manager,
    at whose end files are closed and tensors let go.

    Args:
        source: string. Where the tensors are from, for messages.
    """

    # The argument that named the source.
    argument = "preset"

    def __init__(self, source):
        self.source = source

    @property
    def received(self):
        """string. The end of a message about these tensors."""
        return f"Received: {self.argument}={self.source!r}"

    def names(self):
        """Names of all tensors, a set."""
        raise NotImplementedError

    def _find(self, name):
        """A tensor as an array, or `None` if there is none of this name."""
        raise NotImplementedError

    def _path(self, name):
        """The path of the file that has a tensor, for messages."""
        return self.source

    def read_floats(self, name):
        """The same of a tensor that holds no integers, as of weights."""
        return self.read(name, only_floats=True)

    def read(self, name, only_floats=False):
        """A tensor of finite numbers as a float32 numpy array."""
        with reading(self._path(name), f"has no tensor `{name}` that is whole"):
            tensor = self._find(name)
            if tensor is None:
                raise ValueError(f"Tensor `{name}` is missing. {self.received}")
            tensor = np.asarray(tensor)
            check_numbers(tensor, name)
            if only_floats and tensor.dtype.kind in "biu":
                raise ValueError(
                    f"Tensor `{name}` is of {tensor.dtype}, and must be of "
                    f"floats. {self.received}"
                )
            return tensor.astype("float32")

    def assign(self, variable, name, tensor=None):
        """Puts a tensor into a variable, or refuses it by its name."""
        tensor = self.read(name) if tensor is None else tensor
        if tuple(tensor.shape) != tuple(variable.shape):
            raise ValueError(
                f"Tensor `{name}` has shape {tuple(tensor.shape)}, expected "
                f"{tuple(variable.shape)}. {self.received}"
            )
        variable.assign(tensor)

    def close(self):
        """Lets go of what was read."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def load_layers(files, layers, ignored=()):
    """Fills layers with published tensors, all of them or none unnoticed.

    Args:
        files: `NamedTensors`.
        layers: dict. Published name of a layer, such as
            `"decoder.conv_in"`, to the layer of ours that it fills; to a list
            of `Dense` layers that lie stacked in it; or, for a single tensor,
            to a variable or a pair of a variable and the function that
            arranges the tensor for it.
        ignored: sequence of strings. Regular expressions of the whole names
            of published tensors that no layer needs.

    Raises:
        ValueError: if a tensor is missing, of integers, of another shape than
            its variable, or neither in the table nor ignored. It is named.
    """
    table = {}
    for name, layer in layers.items():
        table.update(_tensors_of(layer, name))
    for name in sorted(files.names()):
        if name not in table and not any(
            re.fullmatch(pattern, name) for pattern in ignored
        ):
            raise ValueError(
                f"Tensor `{name}` has no place in the model: it is of another "
                f"architecture. {files.received}"
            )
    for name, (variables, arrange) in table.items():
        tensor = files.read_floats(name)
        parts = [tensor]
        if len(variables) > 1 and len(tensor) % len(variables) == 0:
            parts = np.split(tensor, len(variables))
        for variable, part in zip(variables, parts, strict=False):
            _assign(variable, _arranged(part, arrange), name, tensor, files)


def _arranged(tensor, arrange):
    try:
        return arrange(tensor)
    except (ValueError, IndexError):  # of another rank, and refused for it
        return tensor


def _assign(variable, arranged, name, tensor, files):
    if tuple(arranged.shape) != tuple(variable.shape):
        raise ValueError(
            f"Tensor `{name}` does not fit `{variable.path}` of shape "
            f"{tuple(variable.shape)}. Received: shape={tensor.shape}, "
            f"{files.argument}={files.source!r}"
        )
    variable.assign(arranged)


def _tensors_of(layer, name):
    """Tensors of a layer in PyTorch's words.

    Returns:
        Dict of pairs by the tensors' names: the variables that share it, and
        the function that arranges it for them.
    """
    if isinstance(layer, tuple):
        variable, arrange = layer
        return {name: ([variable], arrange)}
    if isinstance(layer, list):
        kernels = [dense.kernel for dense in layer]
        return {f"{name}.weight": (kernels, _arrange_dense)}
    if not isinstance(layer, keras.layers.Layer):
        return {name: ([layer], _as_it_is)}
    if isinstance(layer, keras.layers.Embedding):
        return {f"{name}.weight": ([layer.embeddings], _as_it_is)}
    if hasattr(layer, "gamma"):  # layer and group normalization
        weight, bias, arrange = layer.gamma, layer.beta, _as_it_is
    elif hasattr(layer, "scale"):  # RMS normalization
        weight, bias, arrange = layer.scale, None, _as_it_is
    else:
        weight, bias, arrange = layer.kernel, layer.bias, _arranging(layer)
    tensors = {f"{name}.weight": ([weight], arrange)}
    if bias is not None:
        tensors[f"{name}.bias"] = ([bias], _as_it_is)
    return tensors


def _arranging(layer):
    """How a kernel's axes change from PyTorch's order to that of Keras."""
    if isinstance(layer, keras.layers.Dense):
        return _arrange_dense
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return lambda tensor: tensor.transpose(2, 3, 0, 1)
    # Of a transposed convolution, too: both have input and output exchanged.
    return lambda tensor: tensor.transpose(2, 3, 1, 0)


def _arrange_dense(tensor):
    if tensor.ndim == 4 and tensor.shape[2:] == (1, 1):
        tensor = tensor[:, :, 0, 0]  # a 1 x 1 convolution
    return tensor.T


def _as_it_is(tensor):
    return tensor
