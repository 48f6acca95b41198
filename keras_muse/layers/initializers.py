"""Keras' random initializers, which draw nothing for weights to be loaded.

Random numbers for a model that is loaded cost memory and time for nothing:
JAX compiles a program for each shape of weight, most of the wait for a small
model.
"""

import contextlib
import contextvars

import keras
import numpy as np

_skipped = contextvars.ContextVar("skipped", default=False)


@contextlib.contextmanager
def skip_random_weights(skip=True):
    """What is built inside starts at zero: its weights are loaded next."""
    token = _skipped.set(skip)
    try:
        yield
    finally:
        _skipped.reset(token)


class _Skippable:
    # Keyword-only: the first positional argument of Keras is the mean, for
    # which a standard deviation was once passed.
    def __init__(self, **arguments):
        super().__init__(**arguments)

    def __call__(self, shape, dtype=None, **kwargs):
        if _skipped.get():
            # With its type by name JAX copies; without, it compiles a program.
            zeros = np.zeros(shape, "float32")
            return keras.ops.convert_to_tensor(zeros, dtype or "float32")
        return super().__call__(shape, dtype, **kwargs)


@keras.saving.register_keras_serializable(package="keras_muse")
class RandomNormal(_Skippable, keras.initializers.RandomNormal):
    """`keras.initializers.RandomNormal`."""


@keras.saving.register_keras_serializable(package="keras_muse")
class TruncatedNormal(_Skippable, keras.initializers.TruncatedNormal):
    """`keras.initializers.TruncatedNormal`."""


@keras.saving.register_keras_serializable(package="keras_muse")
class VarianceScaling(_Skippable, keras.initializers.VarianceScaling):
    """`keras.initializers.VarianceScaling`."""
