"""Compiled functions and devices on TensorFlow."""

import numpy as np
import tensorflow as tf


def compile_function(model, function):
    compiled, variables = None, []

    def call(*args):
        nonlocal compiled, variables
        # LoRA and quantization give a model other variables; a trace would go
        # on with those that it has seen.
        if list(map(id, model.variables)) != list(map(id, variables)):
            compiled, variables = tf.function(function), model.variables
        # A numpy array would be a new constant, and a new trace, each time.
        args = tf.nest.map_structure(_to_tensor, list(args))
        return compiled(*args)

    return call


def _to_tensor(value):
    if isinstance(value, np.ndarray | np.generic | int | float):
        return tf.convert_to_tensor(value)
    return value


def on_processor():
    kinds = {device.device_type for device in tf.config.list_logical_devices()}
    return not kinds & {"GPU", "TPU"}
