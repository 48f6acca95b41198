import numpy as np
import pytest

from keras_muse.layers.dense import dense
from tests.helpers.tiny import to_numpy


@pytest.mark.parametrize("input_dim", [64, 256])
def test_kernel_keeps_a_third_of_the_variance(input_dim):
    layer = dense("layer", 200, "float32", use_bias=False)
    x = np.random.default_rng(0).standard_normal((100, input_dim))
    y = to_numpy(layer(x.astype("float32")))
    np.testing.assert_allclose(y.var(), 1 / 3, rtol=0.1)
    np.testing.assert_allclose(y.mean(), 0, atol=0.05)
