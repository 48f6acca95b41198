import keras
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save_file

from keras_muse.files.bundled import ASSETS
from keras_muse.metrics.networks import EfficientNetLite0
from tests.helpers.golden_networks import GOLDEN
from tests.helpers.golden_networks import assert_equal_to_scale
from tests.helpers.golden_networks import compiled
from tests.helpers.golden_networks import noisy_pictures
from tests.helpers.golden_networks import to_model_range

BUNDLED = ASSETS / "efficientnet_lite0/weights.safetensors"


@pytest.fixture(scope="module")
def network():
    return EfficientNetLite0()


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "efficientnet_lite0.npz")


def test_features_equal_the_port_of_the_authors(network, golden):
    images = to_model_range(noisy_pictures(224, 224))
    features = compiled(network)(images)
    assert features.shape == (2, network.feature_dim) == (2, 1280)
    assert features.dtype == "float32"
    assert_equal_to_scale(features, golden["features"])
    # The pictures are told apart.
    first, second = golden["features"]
    assert np.abs(first - second).max() > 0.1 * first.max()


def test_logits_of_a_pytorch_file(golden, tmp_path):
    tensors = {k: v.float() for k, v in load_file(BUNDLED).items()}
    tensors["_bn0.num_batches_tracked"] = torch.tensor(3)
    torch.save(tensors, tmp_path / "published.pth")
    keras.config.set_dtype_policy("mixed_bfloat16")  # is none of its business
    network = EfficientNetLite0(tmp_path / "published.pth", output="logits")
    keras.config.set_dtype_policy("float32")
    logits = compiled(network)(to_model_range(noisy_pictures(224, 224)))
    assert logits.shape == (2, network.feature_dim) == (2, 1000)
    assert_equal_to_scale(logits, golden["logits"])


@pytest.mark.parametrize("height, width", [(64, 48), (300, 230)])
def test_pictures_are_resized_as_by_torch(network, height, width):
    images = to_model_range(noisy_pictures(height, width))
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(images).permute(0, 3, 1, 2),
        (224, 224),
        mode="bilinear",
        antialias=True,
    )
    actual = keras.ops.convert_to_numpy(network._prepare(images))
    pixels = (resized.permute(0, 2, 3, 1).numpy() + 1) * 127.5
    np.testing.assert_allclose(actual, (pixels - 127) / 128, atol=1e-4)


def test_is_frozen_float32_and_round_trips():
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = EfficientNetLite0(BUNDLED, output="logits", name="eyes")
    assert {v.dtype for v in network.variables} == {"float32"}
    assert network.compute_dtype == "float32"
    assert not network.trainable and not network.trainable_variables
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(network)
    )
    assert copy.get_config() == network.get_config()
    assert copy.feature_dim == 1000


@pytest.mark.parametrize(
    "change, named",
    [
        ({"_bn1.running_var": None}, "_bn1.running_var"),
        ({"_bn1.weight": torch.zeros(7)}, "_bn1.weight"),
        ({"_bn2.weight": torch.zeros(7)}, "_bn2.weight"),
    ],
)
def test_names_the_tensor_that_does_not_fit(change, named, tmp_path):
    tensors = {**load_file(BUNDLED), **change}
    tensors = {k: v for k, v in tensors.items() if v is not None}
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=f"`{named}`.*Received"):
        EfficientNetLite0(tmp_path / "other.safetensors")


def test_refuses_what_it_cannot_judge(network):
    with pytest.raises(ValueError, match="Received: output='classes'"):
        EfficientNetLite0(output="classes")
    with pytest.raises(ValueError, match="must be a file.*Received"):
        EfficientNetLite0("nowhere.safetensors")
    with pytest.raises(ValueError, match="floats.*Received"):
        network(noisy_pictures(64, 64))
    with pytest.raises(ValueError, match="shape.*Received"):
        network(np.zeros((64, 64, 3), "float32"))
