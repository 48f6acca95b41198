"""Functions without gradient on Torch."""

import torch
from keras import ops
from keras import tree


def compile_function(model, function):
    def call(*args):
        args = tree.map_structure(ops.convert_to_tensor, list(args))
        with torch.no_grad():
            return function(*args)

    return call
