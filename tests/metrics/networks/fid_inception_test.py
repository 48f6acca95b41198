import json

import keras
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from keras_muse.metrics.networks import FIDInception
from tests.helpers.golden_networks import GOLDEN
from tests.helpers.golden_networks import assert_equal_to_scale
from tests.helpers.golden_networks import compiled
from tests.helpers.golden_networks import noisy_pictures
from tests.helpers.golden_networks import to_model_range
from tests.helpers.random_tensors import random_tensors

SIZES = [(299, 299), (64, 48), (320, 400)]


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "fid_inception.npz")


@pytest.fixture(scope="module")
def tensors(golden):
    """Random weights in the published layout."""
    return random_tensors(json.loads(str(golden["shapes"])))


@pytest.fixture(scope="module")
def features(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.safetensors"
    save_file(tensors, path)
    return FIDInception(path)


@pytest.mark.parametrize("height, width", SIZES)
def test_features_equal_torch_fidelity(features, golden, height, width):
    images = to_model_range(noisy_pictures(height, width))
    actual = compiled(features)(images)
    assert actual.shape == (2, features.feature_dim) == (2, 2048)
    assert actual.dtype == "float32"
    expected = golden[f"{height}x{width}/features"]
    assert_equal_to_scale(actual, expected)
    # The pictures are told apart.
    assert np.abs(expected[0] - expected[1]).max() > 1e-2 * expected.max()


def test_downloads_the_published_file(golden, tensors, tmp_path, monkeypatch):
    path = tmp_path / "published.pth"
    published = {k: torch.from_numpy(v) for k, v in tensors.items()}
    published["Conv2d_1a_3x3.bn.num_batches_tracked"] = torch.tensor(0)
    torch.save(published, path)
    asked = {}

    def get_file(**kwargs):
        asked.update(kwargs)
        return str(path)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = FIDInception(output="logits")
    keras.config.set_dtype_policy("float32")
    assert asked["origin"].endswith("pt_inception-2015-12-05-6726825d.pth")
    assert asked["file_hash"].startswith("6726825d")
    assert {v.dtype for v in network.variables} == {"float32"}
    assert not network.trainable and not network.trainable_variables
    logits = compiled(network)(to_model_range(noisy_pictures(64, 48)))
    assert logits.shape == (2, network.feature_dim) == (2, 1008)
    assert_equal_to_scale(logits, golden["64x48/logits"])


def test_pictures_are_judged_as_pixels(features):
    images = to_model_range(noisy_pictures(20, 30))
    noise = np.random.RandomState(0).uniform(-1, 1, images.shape) / 300
    prepared = [
        keras.ops.convert_to_numpy(features._prepare(x))
        for x in (images, (images + noise).astype("float32"))
    ]
    np.testing.assert_array_equal(*prepared)
    assert prepared[0].min() >= -1 and prepared[0].max() <= 127 / 128


def test_config(features):
    config = features.get_config()
    assert config["output"] == "features"
    assert config["weights"].endswith("inception.safetensors")


def test_names_the_tensor_that_does_not_fit(tensors, tmp_path):
    wrong = {**tensors, "Mixed_7c.branch_pool.conv.weight": tensors["fc.bias"]}
    save_file(wrong, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="`Mixed_7c.branch_pool.conv.weight`"):
        FIDInception(tmp_path / "other.safetensors")


def test_refuses_pixels(features):
    with pytest.raises(ValueError, match="floats.*Received"):
        features(noisy_pictures(64, 64))
