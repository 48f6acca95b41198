import keras
import numpy as np
import pytest

import keras_muse
from tests.helpers import tiny
from tests.helpers.tiny import randomize
from tests.helpers.tiny import tiny_discriminator
from tests.helpers.tiny import to_numpy


def images(num_images=3, size=(16, 16)):
    generator = np.random.default_rng(0)
    return generator.uniform(-1, 1, (num_images, *size, 3)).astype("float32")


@pytest.fixture(scope="module")
def discriminator():
    discriminator = tiny_discriminator()
    randomize(discriminator, 0.1)
    return discriminator


@pytest.mark.parametrize("size", [(16, 16), (8, 20)])
def test_one_score_a_patch(discriminator, size):
    scores = discriminator(images(size=size))
    assert scores.shape == (3, size[0] // 4, size[1] // 4, 1)
    assert keras.backend.standardize_dtype(scores.dtype) == "float32"


def test_a_score_is_the_pictures_own(discriminator):
    x = images()
    together = to_numpy(discriminator(x))
    alone = to_numpy(discriminator(x[1:2]))
    np.testing.assert_allclose(alone, together[1:2], atol=1e-5)


def test_a_patch_is_judged_by_its_surroundings(discriminator):
    x = images(1, (64, 8))
    changed = x.copy()
    changed[:, :4] *= -1
    moved = to_numpy(discriminator(changed)) != to_numpy(discriminator(x))
    rows = moved.any(axis=(0, 2, 3))
    assert rows[0] and not rows[8:].any()


def test_defaults_halve_four_times():
    discriminator = keras_muse.Discriminator(base_channels=2)
    assert discriminator.channel_multipliers == (1, 2, 4, 8)
    assert discriminator(images(1, (32, 32))).shape == (1, 2, 2, 1)


def test_learns_to_tell_light_from_dark(discriminator):
    model = tiny_discriminator()
    x = images(64) * 0.5 + np.repeat([-0.5, 0.5], 32)[:, None, None, None]
    y = np.repeat([-1.0, 1.0], 32)[:, None, None, None]
    model.compile(keras.optimizers.Adam(0.01), loss="hinge")
    y = np.broadcast_to(y, (64, 4, 4, 1))
    model.fit(x, y, epochs=10, verbose=0)
    assert (np.sign(model.predict(x, verbose=0)) == y).mean() > 0.95


def test_mixed_precision_scores_are_float32():
    discriminator = tiny_discriminator(dtype="mixed_bfloat16")
    assert discriminator.convs_1[0].compute_dtype == "bfloat16"
    assert discriminator.conv_in.variable_dtype == "float32"
    scores = discriminator(images())
    assert keras.backend.standardize_dtype(scores.dtype) == "float32"


def test_config_round_trip(tmp_path):
    discriminator = tiny_discriminator(name="critic", dtype="mixed_bfloat16")
    discriminator.save(tmp_path / "critic.keras")
    copy = keras.saving.load_model(tmp_path / "critic.keras")
    assert copy.get_config() == discriminator.get_config()
    x = images()
    np.testing.assert_array_equal(to_numpy(copy(x)), to_numpy(discriminator(x)))


def test_pictures_that_it_halves_to_nothing_are_refused():
    critic = tiny.tiny_discriminator()  # of two levels
    assert critic(np.zeros((1, 4, 4, 3), "float32")).shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match="at least 4 pixels.*\\(1, 3, 4, 3"):
        critic(np.zeros((1, 3, 4, 3), "float32"))
