import keras
import numpy as np
import pytest

from keras_muse.losses import LPIPS
from keras_muse.losses import AdversarialLoss
from keras_muse.losses.tokenizer_loss import TokenizerLoss
from keras_muse.ops import quantization
from tests.tiny import randomize
from tests.tiny import tiny_discriminator
from tests.tiny import to_numpy

SETTINGS = {
    "reconstruction": "l2",
    "perceptual": None,
    "perceptual_weight": 0.05,
    "adversarial": None,
    "adversarial_weight": 0.1,
    "commitment_weight": 0.25,
    "entropy_weight": 0.1,
}


def make(**changes):
    return TokenizerLoss(**{**SETTINGS, **changes})


@pytest.fixture
def batch():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    outputs = {
        "images": generator.uniform(-1, 1, images.shape).astype("float32"),
        "quantized": np.zeros((2, 2, 2, 4), "float32"),
        "distances": generator.uniform(1, 3, (8, 16)).astype("float32"),
    }
    return images, outputs


def terms(loss, images, outputs, training=False):
    result = loss(images, outputs, training=training)
    return {name: float(value) for name, value in result.items()}


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_reconstruction_is_in_model_range(batch, kind):
    images, outputs = batch
    difference = images / 127.5 - 1 - outputs["images"]
    expected = abs(difference) if kind == "l1" else difference**2
    loss = make(reconstruction=kind, commitment_weight=0, entropy_weight=0)
    actual = terms(loss, images, outputs)
    assert actual["loss"] == pytest.approx(expected.mean(), rel=1e-5)
    assert actual["reconstruction_loss"] == actual["loss"]


def test_floats_and_uint8_are_the_same_pictures(batch):
    images, outputs = batch
    floats = (images / 127.5 - 1).astype("float32")
    expected = terms(make(), images, outputs)
    assert terms(make(), floats, outputs) == pytest.approx(expected, rel=1e-6)


def test_commitment_and_entropy(batch):
    images, outputs = batch
    actual = terms(make(), images, outputs)
    distances = outputs["distances"]
    # The mean squared difference of a vector and its code, width 4.
    commitment = distances.min(axis=1).mean() / 4
    assert actual["commitment_loss"] == pytest.approx(commitment, rel=1e-5)
    entropy = float(quantization.entropy_loss(distances))
    assert actual["entropy_loss"] == pytest.approx(entropy, rel=1e-5)


def test_is_the_weighted_sum_of_all_terms(batch):
    images, outputs = batch
    critic = tiny_discriminator()
    randomize(critic, 0.1)
    perceptual = LPIPS()
    loss = make(perceptual=perceptual, adversarial=AdversarialLoss(critic))
    actual = terms(loss, images, outputs)
    weights = {
        "reconstruction_loss": 1.0,
        "perceptual_loss": 0.05,
        "adversarial_loss": 0.1,
        "discriminator_loss": 1.0,
        "commitment_loss": 0.25,
        "entropy_loss": 0.1,
    }
    assert list(loss.terms) == list(weights)
    assert set(actual) == {*weights, "loss"}
    expected = sum(w * actual[name] for name, w in weights.items())
    assert actual["loss"] == pytest.approx(expected, rel=1e-5)
    real = (images / 127.5 - 1).astype("float32")
    lpips = to_numpy(perceptual(real, outputs["images"])).mean()
    assert actual["perceptual_loss"] == pytest.approx(lpips, rel=1e-4)


def test_terms_of_weight_zero_are_not_computed(batch):
    class Forbidden(LPIPS):
        def call(self, images, reconstructions):
            raise AssertionError

    loss = make(
        perceptual=Forbidden(),
        perceptual_weight=0.0,
        commitment_weight=0.0,
        entropy_weight=0.0,
    )
    assert loss.terms == ["reconstruction_loss"]
    assert set(terms(loss, *batch)) == {"reconstruction_loss", "loss"}


def test_losses_are_float32_under_a_mixed_policy(batch):
    expected = terms(make(), *batch)
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert terms(make(), *batch) == pytest.approx(expected, rel=1e-5)


def test_unknown_reconstruction_raises():
    with pytest.raises(ValueError, match="Received: reconstruction=huber"):
        make(reconstruction="huber")
