"""Reading the checkpoints of Flax, MessagePack with arrays."""

import msgpack
import numpy as np

_ARRAY, _SCALAR = 1, 3  # Flax's extension types; a complex number is 2


class FlaxFiles:
    """Tensors of a Flax checkpoint by name, such as `encoder.Conv_0.kernel`.

    MessagePack holds data only: reading it runs no code. With the class as a
    context manager, the tensors are let go at the end.

    Args:
        path: string. Path of the file.

    Raises:
        ValueError: if the file is damaged or no Flax checkpoint.
    """

    def __init__(self, path):
        self.preset = path
        try:
            with open(path, "rb") as file:
                tree = msgpack.unpackb(
                    file.read(), ext_hook=_unpack, strict_map_key=False
                )
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise ValueError(
                f"`{path}` is damaged or no checkpoint of Flax: {error}"
            ) from error
        if not isinstance(tree, dict) or "params" not in tree:
            raise ValueError(f"`{path}` holds no `params` of Flax.")
        self._tensors = dict(_flatten(tree["params"]))

    def names(self):
        """Names of all tensors, a set."""
        return set(self._tensors)

    def read(self, name):
        """One tensor as a float32 numpy array."""
        if name not in self._tensors:
            raise ValueError(
                f"Tensor `{name}` is missing. Received: preset={self.preset!r}"
            )
        return np.asarray(self._tensors[name]).astype("float32")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
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
