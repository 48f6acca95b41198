"""Compiled functions on TensorFlow."""

import numpy as np
import tensorflow as tf


def compile_function(model, function):
    compiled = tf.function(function)

    def call(*args):
        # A numpy array would be a new constant, and a new trace, each time.
        args = tf.nest.map_structure(_to_tensor, list(args))
        return compiled(*args)

    return call


def _to_tensor(value):
    if isinstance(value, np.ndarray | np.generic | int | float):
        return tf.convert_to_tensor(value)
    return value
