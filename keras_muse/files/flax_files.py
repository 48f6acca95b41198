"""Reading the checkpoints of Flax, MessagePack with arrays."""

import msgpack
import numpy as np

from keras_muse.files.damage import reading
from keras_muse.files.tensors import NamedTensors

_ARRAY, _SCALAR = 1, 3  # Flax's extension types; a complex number is 2


class FlaxFiles(NamedTensors):
    """Tensors of a Flax checkpoint by name, such as `encoder.Conv_0.kernel`.

    MessagePack holds data only: reading it runs no code. With the class as a
    context manager, the tensors are let go at the end.

    Args:
        path: string. Path of the file.

    Raises:
        ValueError: if the file is damaged or no Flax checkpoint.
    """

    def __init__(self, path):
        super().__init__(path)
        with reading(path, "is damaged or no checkpoint of Flax"):
            with open(path, "rb") as file:
                tree = msgpack.unpackb(
                    file.read(), ext_hook=_unpack, strict_map_key=False
                )
        if not isinstance(tree, dict) or "params" not in tree:
            raise ValueError(
                f"`{path}` must hold `params` of Flax. Received: a "
                f"{type(tree).__name__} without"
            )
        with reading(path):
            self._tensors = dict(_flatten(tree["params"]))

    def names(self):
        return set(self._tensors)

    def _find(self, name):
        return self._tensors.get(name)

    def close(self):
        self._tensors = {}


def _unpack(code, data):
    if code not in (_ARRAY, _SCALAR):
        raise ValueError(f"extension type {code} is unknown")
    shape, dtype, buffer = msgpack.unpackb(data)
    return np.frombuffer(buffer, dtype).reshape(shape)


def _flatten(tree, path=()):
    if not isinstance(tree, dict):
        yield ".".join(path), tree
        return
    for name, branch in tree.items():
        yield from _flatten(branch, (*path, str(name)))
