import numpy as np
from scipy import special

from keras_muse.layers import ConvNeXtBlock
from tests.helpers.tiny import randomize
from tests.helpers.tiny import to_numpy


def make():
    layer = ConvNeXtBlock(condition_dim=3)
    layer.build((None, None, None, 4))
    randomize(layer)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, 5, 6, 4)).astype("float32")
    condition = generator.standard_normal((2, 3)).astype("float32")
    return layer, x, condition


def test_equals_numpy():
    layer, x, condition = make()
    kernel = to_numpy(layer.depthwise.kernel)[..., 0]  # (3, 3, channels)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = sum(
        padded[:, i : i + 5, j : j + 6] * kernel[i, j]
        for i in range(3)
        for j in range(3)
    )
    y = y / np.sqrt((y**2).mean(axis=-1, keepdims=True) + 1e-6)
    y = (y * to_numpy(layer.norm.scale)) @ to_numpy(
        layer.intermediate_dense.kernel
    )
    y = y * 0.5 * (1 + special.erf(y / np.sqrt(2)))  # the exact GELU
    norm = np.sqrt((y**2).sum(axis=(1, 2), keepdims=True))
    share = norm / norm.mean(axis=-1, keepdims=True)
    y = (
        to_numpy(layer.response_scale) * y * share
        + to_numpy(layer.response_shift)
        + y
    )
    y = x + y @ to_numpy(layer.output_dense.kernel)
    silu = condition / (1 + np.exp(-condition))
    modulation = silu @ to_numpy(layer.modulation.kernel)
    scale, shift = np.split(modulation[:, None, None], 2, axis=-1)
    actual = to_numpy(layer(x, layer.project(condition)))
    np.testing.assert_allclose(
        actual, y * (1 + scale) + shift, rtol=1e-4, atol=1e-4
    )
