"""Functions without gradient and devices on Torch."""

import torch
from keras import ops
from keras import tree


def compile_function(model, function):
    def call(*args):
        args = tree.map_structure(ops.convert_to_tensor, list(args))
        with torch.no_grad():
            return function(*args)

    return call


def on_processor():
    # Where Keras puts a tensor that nobody has placed.
    return ops.zeros(()).device.type == "cpu"
