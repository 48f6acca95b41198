"""Compiled functions of a model, on the backend at hand."""

import importlib

import keras


def compile_function(model, function):
    """Compiles a function that calls a model's layers, on the backend at hand.

    The weights are arguments of the compiled function, not constants in it:
    it follows later training, and a model's weights are in memory once. It
    compiles anew for new shapes and dtypes only. Under a distribution the
    examples are split over its devices, and the weights stay where they are.

    Args:
        model: a `keras.Model` whose variables the function reads.
        function: a function of tensors (or nested lists of them) that
            returns tensors. It must not update variables.

    Returns:
        A function of the same arguments.
    """
    backend = keras.config.backend()
    leaf = importlib.import_module(f"keras_muse.runtime._{backend}")
    return leaf.compile_function(model, function)


class CompiledFunctions:
    """The compiled functions of a model, each compiled when first asked for.

    Args:
        model: a `keras.Model` or layer whose variables the functions read.
    """

    # Beyond these, the one that was not used for longest is let go.
    MAX_SIZE = 32

    def __init__(self, model):
        self._model = model
        self._functions = {}

    def get(self, key, function):
        """The compiled function of a key.

        Args:
            key: hashable. What tells it from the model's other functions.
            function: what is compiled if there is none of this key yet; see
                `compile_function`.
        """
        compiled = self._functions.pop(key, None)
        if compiled is None:
            compiled = compile_function(self._model, function)
        self._functions[key] = compiled  # the latest comes last
        if len(self._functions) > self.MAX_SIZE:
            del self._functions[next(iter(self._functions))]
        return compiled

    def clear(self):
        self._functions.clear()

    def __iter__(self):
        return iter(self._functions)

    def __len__(self):
        return len(self._functions)


def fetchable(tensors):
    """Puts results where each process can read all of them.

    Args:
        tensors: tensor, or nested tensors, inside a compiled function.

    Returns:
        The same, whole on every device of the current distribution.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        return tensors

    def gather(x):
        layout = keras.distribution.TensorLayout(
            [None] * len(x.shape), distribution.device_mesh
        )
        return keras.distribution.distribute_tensor(x, layout)

    return keras.tree.map_structure(gather, tensors)
