import keras
import numpy as np
import pytest
import torch

from keras_muse.layers import ResnetBlock
from tests.helpers.tiny import randomize
from tests.helpers.tiny import to_numpy


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def torch_block(layer, x, has_bias):
    """The same block in Torch, channels first."""

    def conv(x, layer):
        kernel = torch.tensor(layer.get_weights()[0]).permute(3, 2, 0, 1)
        bias = torch.tensor(layer.get_weights()[1]) if has_bias else None
        return torch.nn.functional.conv2d(x, kernel, bias, padding="same")

    def norm(x, layer):
        gamma, beta = (torch.tensor(w) for w in layer.get_weights())
        return torch.nn.functional.group_norm(
            x, layer.groups, gamma, beta, eps=1e-6
        )

    silu = torch.nn.functional.silu
    x = torch.tensor(x).permute(0, 3, 1, 2)
    y = conv(silu(norm(x, layer.norm_1)), layer.conv_1)
    y = conv(silu(norm(y, layer.norm_2)), layer.conv_2)
    x = x if layer.shortcut is None else conv(x, layer.shortcut)
    return (x + y).permute(0, 2, 3, 1).detach().cpu().numpy()


@pytest.mark.parametrize("channels", [8, 12])
@pytest.mark.parametrize("use_bias", [True, False])
def test_equals_torch(channels, use_bias):
    layer = ResnetBlock(channels, num_groups=4, use_bias=use_bias)
    layer.build((None, None, None, 8))
    randomize(layer)
    x = random(2, 6, 5, 8)
    expected = torch_block(layer, x, use_bias)
    np.testing.assert_allclose(to_numpy(layer(x)), expected, atol=2e-3)
    assert (layer.shortcut is None) == (channels == 8)


def test_config_round_trip():
    layer = ResnetBlock(8, num_groups=2, use_bias=True)
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()
    assert layer.compute_output_shape((1, 4, 6, 3)) == (1, 4, 6, 8)
