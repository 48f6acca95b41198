import keras
import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save_file
from torch import nn

from keras_muse.files.bundled import ASSETS
from keras_muse.metrics.networks import PerceptualFeatures
from tests.helpers.golden_networks import assert_equal_to_scale
from tests.helpers.golden_networks import noisy_pictures
from tests.helpers.golden_networks import to_model_range
from tests.helpers.tiny import to_numpy

ALEXNET = ASSETS / "lpips/alexnet.safetensors"


def torch_alexnet():
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )


def torch_vgg16():
    layers, channels = [], 3
    for filters in (64, 64, 0, 128, 128, 0, *[256] * 3, 0, *[512] * 3, 0):
        if filters == 0:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
        channels = filters
    for _ in range(3):
        layers += [nn.Conv2d(512, 512, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def torch_features(model, pictures):
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
    # ImageNet's own numbers; LPIPS rounds them.
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    x = (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(deviation).view(
        3, 1, 1
    )
    with torch.no_grad():
        return model(x).mean((2, 3)).numpy()


@pytest.fixture(scope="module")
def alexnet():
    return PerceptualFeatures("alexnet")


@pytest.mark.parametrize("height, width", [(64, 96), (130, 101)])
def test_alexnet_equals_torch(alexnet, height, width):
    model = torch_alexnet()
    tensors = load_file(ALEXNET)
    model.load_state_dict(
        {k.removeprefix("features."): v.float() for k, v in tensors.items()}
    )
    pictures = noisy_pictures(height, width)
    actual = to_numpy(alexnet(to_model_range(pictures)))
    assert actual.shape == (2, alexnet.feature_dim) == (2, 256)
    assert actual.dtype == "float32"
    assert_equal_to_scale(actual, torch_features(model, pictures))


def test_vgg16_equals_torch(tmp_path):
    torch.manual_seed(0)
    model = torch_vgg16()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
    tensors = {f"features.{k}": v for k, v in model.state_dict().items()}
    save_file(tensors, tmp_path / "vgg16.safetensors")
    network = PerceptualFeatures("vgg16", tmp_path / "vgg16.safetensors")
    pictures = noisy_pictures(64, 70)
    actual = to_numpy(network(to_model_range(pictures)))
    assert actual.shape == (2, network.feature_dim) == (2, 512)
    assert_equal_to_scale(actual, torch_features(model, pictures))


def test_small_pictures_have_features(alexnet):
    pictures = to_model_range(noisy_pictures(16, 24))
    features = to_numpy(alexnet(pictures))
    assert features.shape == (2, 256) and features.std() > 0.01


def test_is_frozen_float32_and_round_trips():
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = PerceptualFeatures("alexnet", ALEXNET)
    assert network.compute_dtype == "float32"
    assert not network.trainable and not network.trainable_variables
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(network)
    )
    assert copy.get_config() == network.get_config()


def test_refuses_pixels(alexnet):
    with pytest.raises(ValueError, match="floats.*Received"):
        alexnet(noisy_pictures(64, 64))
