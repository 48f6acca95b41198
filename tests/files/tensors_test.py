import keras
import numpy as np
import pytest
import torch

from keras_muse.files.tensors import NamedTensors
from keras_muse.files.tensors import load_layers
from tests.helpers.tiny import to_numpy


class Files(NamedTensors):
    """Tensors in the place of files."""

    def __init__(self, **tensors):
        super().__init__("somewhere")
        self.tensors = tensors

    def names(self):
        return set(self.tensors)

    def _find(self, name):
        return self.tensors.get(name)


def built(layer, channels=2):
    layer.build((None, 4, 4, channels))
    return layer


def numbers(*shape):
    return np.arange(np.prod(shape), dtype="float32").reshape(shape)


def test_a_convolution_gives_what_torch_gives():
    x = np.random.default_rng(0).standard_normal((1, 4, 4, 2))
    x = x.astype("float32")
    layers = {
        "plain": (
            keras.layers.Conv2D(3, 3, padding="same"),
            torch.nn.Conv2d(2, 3, 3, padding=1),
        ),
        "depthwise": (
            keras.layers.DepthwiseConv2D(3, padding="same"),
            torch.nn.Conv2d(2, 2, 3, padding=1, groups=2),
        ),
        "transposed": (
            keras.layers.Conv2DTranspose(3, 2, strides=2),
            torch.nn.ConvTranspose2d(2, 3, 2, stride=2),
        ),
    }
    for name, (ours, theirs) in layers.items():
        tensors = {
            f"{name}.{key}": value.detach().numpy()
            for key, value in theirs.state_dict().items()
        }
        load_layers(Files(**tensors), {name: built(ours)})
        with torch.no_grad():
            expected = theirs(torch.tensor(x).permute(0, 3, 1, 2))
        np.testing.assert_allclose(
            to_numpy(ours(x)), expected.permute(0, 2, 3, 1), atol=1e-5
        )


def test_stacked_layers_share_a_tensor():
    layers = [built(keras.layers.Dense(3, use_bias=False)) for _ in range(2)]
    load_layers(Files(**{"both.weight": numbers(6, 2)}), {"both": layers})
    for layer, rows in zip(layers, np.split(numbers(6, 2), 2), strict=True):
        np.testing.assert_array_equal(to_numpy(layer.kernel), rows.T)


def test_a_convolution_of_one_pixel_is_a_dense_layer():
    layer = built(keras.layers.Dense(3, use_bias=False))
    tensors = Files(**{"x.weight": numbers(3, 2, 1, 1)})
    load_layers(tensors, {"x": layer})
    np.testing.assert_array_equal(to_numpy(layer.kernel), numbers(3, 2).T)


@pytest.mark.parametrize("shape", [(4, 2), (3, 2, 3, 3), (3,), (2, 3)])
def test_what_does_not_fit_is_named(shape):
    layer = built(keras.layers.Dense(3, use_bias=False))
    with pytest.raises(ValueError, match="`x.weight` does not fit .*(2, 3)"):
        load_layers(Files(**{"x.weight": numbers(*shape)}), {"x": layer})


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integers_are_no_weights(dtype):
    layer = built(keras.layers.Dense(3))
    before = to_numpy(layer.kernel)
    files = Files(**{"a.weight": np.ones((3, 2), dtype)})
    with pytest.raises(ValueError, match=f"`a.weight` is of {dtype}.*Received"):
        load_layers(files, {"a": [layer]})
    np.testing.assert_array_equal(to_numpy(layer.kernel), before)
    assert files.read("a.weight").dtype == "float32"  # counters are read


def test_what_has_no_place_is_named_unless_ignored():
    layer = built(keras.layers.LayerNormalization())
    tensors = {"n.weight": numbers(2), "n.bias": numbers(2)}
    files = Files(**tensors, **{"loss.x": numbers(1)})
    with pytest.raises(ValueError, match="`loss.x` has no place"):
        load_layers(files, {"n": layer})
    load_layers(files, {"n": layer}, ignored=(r"loss\..*",))
    np.testing.assert_array_equal(to_numpy(layer.gamma), [0, 1])
