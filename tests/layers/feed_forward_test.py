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
    hidden = through(layer.intermediate_dense, x)
    hidden = hidden * special.ndtr(hidden) * through(layer.gate_dense, x)
    expected = through(layer.output_dense, hidden)
    np.testing.assert_allclose(to_numpy(layer(x)), expected, atol=1e-5)


@pytest.mark.parametrize("gated", [False, True])
def test_a_norm_stands_before_the_output_matrix(gated):
    layer = FeedForward(12, gated, use_intermediate_norm=True)
    layer.build((None, None, 6))
    randomize(layer)
    x = np.random.default_rng(0).standard_normal((2, 5, 6)).astype("float32")
    hidden = through(layer.intermediate_dense, x)
    hidden = hidden * special.ndtr(hidden)
    if gated:
        hidden = hidden * through(layer.gate_dense, x)
    # Over all units of a token, after the gate.
    hidden = hidden - hidden.mean(axis=-1, keepdims=True)
    hidden = hidden / np.sqrt((hidden**2).mean(axis=-1, keepdims=True) + 1e-6)
    hidden = hidden * to_numpy(layer.intermediate_norm.gamma)
    expected = through(layer.output_dense, hidden)
    np.testing.assert_allclose(to_numpy(layer(x)), expected, atol=1e-4)


def through(dense, x):
    return x @ to_numpy(dense.kernel) + to_numpy(dense.bias)


@pytest.mark.parametrize(
    "options",
    [{}, {"use_gated_activation": True}, {"use_intermediate_norm": True}],
)
def test_config_round_trip(options):
    layer = FeedForward(12, **options, dtype="mixed_bfloat16")
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()
    assert options.items() <= copy.get_config().items()
