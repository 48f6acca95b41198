"""Weights that a seed and the names of the tensors determine.

A golden file made with other people's code then needs no weights in it.
"""

import zlib

import numpy as np


def random_tensors(shapes):
    """Random float32 tensors under which a deep network keeps its scale.

    Args:
        shapes: dict of shapes by the names of the tensors.
    """
    return {name: _random_tensor(name, shapes[name]) for name in shapes}


def _random_tensor(name, shape):
    # The bits of this generator are promised to stay.
    generator = np.random.RandomState(zlib.crc32(name.encode()))
    noise = generator.standard_normal(shape)
    if len(shape) > 1:
        noise = noise / np.sqrt(noise.size / max(shape[0], shape[-1]))
        if "codebook" in name or "embedding" in name:
            noise = generator.standard_normal(shape)
    elif name.endswith(("scale", "weight")):  # of a normalization
        noise = 1 + 0.1 * noise
    elif name.endswith("running_var"):
        noise = 0.5 + 0.05 * noise  # makes up for the half that ReLU takes
    else:
        noise = 0.1 * noise
    return noise.astype("float32")
