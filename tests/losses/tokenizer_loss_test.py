import keras
import numpy as np
import pytest

from keras_muse.losses import LPIPS
from keras_muse.losses import AdversarialLoss
from keras_muse.losses.tokenizer_loss import TokenizerLoss
from tests.helpers.tiny import randomize
from tests.helpers.tiny import tiny_discriminator
from tests.helpers.tiny import to_numpy

SETTINGS = {
    "reconstruction": "l2",
    "perceptual": None,
    "perceptual_weight": 0.05,
    "adversarial": None,
    "adversarial_weight": 0.1,
}


def make(**changes):
    return TokenizerLoss(**{**SETTINGS, **changes})


@pytest.fixture
def batch():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    restored = generator.uniform(-1, 1, images.shape).astype("float32")
    return images, restored


def terms(loss, images, restored, training=False):
    result = loss(images, restored, training=training)
    return {name: float(value) for name, value in result.items()}


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_reconstruction_is_in_model_range(batch, kind):
    images, restored = batch
    difference = images / 127.5 - 1 - restored
    expected = abs(difference) if kind == "l1" else difference**2
    actual = terms(make(reconstruction=kind), images, restored)
    assert list(actual) == ["reconstruction_loss"]
    assert actual["reconstruction_loss"] == pytest.approx(
        expected.mean(), rel=1e-5
    )


def test_floats_and_uint8_are_the_same_pictures(batch):
    images, restored = batch
    floats = (images / 127.5 - 1).astype("float32")
    expected = terms(make(), images, restored)
    assert terms(make(), floats, restored) == pytest.approx(expected, rel=1e-6)


def test_all_terms_and_their_weights(batch):
    images, restored = batch
    critic = tiny_discriminator()
    randomize(critic, 0.1)
    perceptual, adversarial = LPIPS(), AdversarialLoss(critic)
    loss = make(perceptual=perceptual, adversarial=adversarial)
    actual = terms(loss, images, restored)
    assert loss.term_weights == {
        "reconstruction_loss": 1.0,
        "perceptual_loss": 0.05,
        "adversarial_loss": 0.1,
        "discriminator_loss": 1.0,
    }
    assert list(actual) == list(loss.term_weights)
    real = (images / 127.5 - 1).astype("float32")
    lpips = to_numpy(perceptual(real, restored)).mean()
    assert actual["perceptual_loss"] == pytest.approx(lpips, rel=1e-4)
    for name, value in adversarial(real, restored).items():
        assert actual[name] == pytest.approx(float(value), rel=1e-4)


def test_terms_of_weight_zero_are_not_computed(batch):
    class Forbidden(LPIPS):
        def call(self, images, reconstructions):
            raise AssertionError

    loss = make(perceptual=Forbidden(), perceptual_weight=0.0)
    assert list(loss.term_weights) == ["reconstruction_loss"]
    assert set(terms(loss, *batch)) == {"reconstruction_loss"}


def test_losses_are_float32_under_a_mixed_policy(batch):
    expected = terms(make(), *batch)
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert terms(make(), *batch) == pytest.approx(expected, rel=1e-5)


def test_unknown_reconstruction_raises():
    with pytest.raises(ValueError, match="Received: reconstruction='huber'"):
        make(reconstruction="huber")
