import numpy as np
import pytest

from keras_muse.layers import ConditionalNorm
from tests.helpers.tiny import randomize
from tests.helpers.tiny import to_numpy


@pytest.mark.parametrize("norm_type", ["rms", "layer"])
def test_normalizes_then_follows_the_condition(norm_type):
    layer = ConditionalNorm(norm_type)
    layer.build((None, None, 8))
    randomize(layer)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, 5, 8)).astype("float32")
    condition = generator.standard_normal((2, 8)).astype("float32")
    centered = x
    if norm_type == "layer":
        centered = x - x.mean(axis=-1, keepdims=True)
    size = np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-6)
    [gain] = [w for w in layer.weights if len(w.shape) == 1]
    silu = condition / (1 + np.exp(-condition))
    scale, shift = np.split(silu @ to_numpy(layer.modulation.kernel), 2, axis=1)
    expected = centered / size * to_numpy(gain)
    expected = expected * (1 + scale[:, None]) + shift[:, None]
    actual = layer(x, layer.project(condition))
    np.testing.assert_allclose(to_numpy(actual), expected, atol=1e-5)


def test_unknown_norm_raises():
    with pytest.raises(ValueError, match="norm_type='batch'"):
        ConditionalNorm("batch")
