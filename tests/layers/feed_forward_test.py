import keras
import numpy as np
import pytest
from scipy import special

from keras_muse.layers import FeedForward
from tests.helpers.tiny import randomize
from tests.helpers.tiny import to_numpy


def test_equals_numpy():
    layer = FeedForward(intermediate_dim=12)
    layer.build((None, None, 6))
    randomize(layer)
    x = np.random.default_rng(0).standard_normal((2, 5, 6)).astype("float32")
    kernel_1, bias_1, kernel_2, bias_2 = layer.get_weights()
    hidden = x @ kernel_1 + bias_1
    hidden = hidden * special.ndtr(hidden)  # GELU
    expected = hidden @ kernel_2 + bias_2
    np.testing.assert_allclose(to_numpy(layer(x)), expected, atol=1e-5)


def test_a_gate_multiplies_what_gelu_gives():
    layer = FeedForward(intermediate_dim=12, use_gated_activation=True)
    layer.build((None, None, 6))
    randomize(layer)
    x = np.random.default_rng(0).standard_normal((2, 5, 6)).astype("float32")
    hidden, gate = (
        x @ to_numpy(part.kernel) + to_numpy(part.bias)
        for part in (layer.intermediate_dense, layer.gate_dense)
    )
    hidden = hidden * special.ndtr(hidden) * gate
    output = layer.output_dense
    expected = hidden @ to_numpy(output.kernel) + to_numpy(output.bias)
    np.testing.assert_allclose(to_numpy(layer(x)), expected, atol=1e-5)


@pytest.mark.parametrize("gated", [False, True])
def test_config_round_trip(gated):
    layer = FeedForward(12, gated, dtype="mixed_bfloat16")
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()
