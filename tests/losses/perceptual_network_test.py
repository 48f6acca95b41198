import keras
import numpy as np
import pytest
from safetensors.numpy import load_file
from safetensors.numpy import save_file

from keras_muse.files.bundled import ASSETS
from keras_muse.losses import LPIPS
from keras_muse.losses.perceptual_network import PerceptualNetwork

ALEXNET = ASSETS / "lpips/alexnet.safetensors"


@pytest.fixture(scope="module")
def network():
    return PerceptualNetwork("alexnet")


def test_maps_are_of_five_depths(network):
    images = np.zeros((1, 64, 96, 3), "float32")
    shapes = [tuple(features.shape) for features in network(images)]
    assert shapes == [
        (1, 15, 23, 64),
        (1, 7, 11, 192),
        (1, 3, 5, 384),
        (1, 3, 5, 256),
        (1, 3, 5, 256),
    ]
    assert network.channels == [shape[-1] for shape in shapes]


def test_config_round_trip():
    network = PerceptualNetwork("alexnet", ALEXNET, 48, name="eyes")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(network)
    )
    assert copy.get_config() == network.get_config()
    assert copy.min_size == 48


@pytest.mark.parametrize(
    "change, named",
    [
        ({"features.3.weight": None}, "features.3.weight"),
        ({"features.3.bias": np.zeros(7)}, "features.3.bias"),
        ({"features.12.weight": np.zeros(7)}, "features.12.weight"),
    ],
)
def test_names_the_tensor_that_does_not_fit(change, named, tmp_path):
    tensors = {**load_file(ALEXNET), **change}
    tensors = {k: v for k, v in tensors.items() if v is not None}
    path = tmp_path / "other.safetensors"
    save_file(tensors, path)
    with pytest.raises(ValueError, match=f"`{named}`.*Received: .*weights="):
        PerceptualNetwork("alexnet", path)


def test_refuses_pixels(network):
    with pytest.raises(ValueError, match="floats.*Received"):
        network(np.zeros((1, 64, 64, 3), "uint8"))


@pytest.mark.parametrize(
    "options",
    [
        *({"min_size": x} for x in (None, "64", float("nan"), 33.7, 16)),
        *({"network": x} for x in (["alexnet"], "resnet", None)),
    ],
)
def test_unusable_settings_are_named(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"`{name}` must be.*Received"):
        PerceptualNetwork(**options)
    with pytest.raises(ValueError, match=f"`{name}` must be.*Received"):
        LPIPS(**options)
