import keras
import numpy as np
import pytest

from keras_muse.losses import LPIPS
from keras_muse.metrics import PerceptualDistance
from tests.helpers.tiny import to_numpy
from tests.helpers.tiny_features import random_pictures


def as_floats(images):
    return (images / 127.5 - 1.0).astype("float32")


def test_is_the_mean_of_lpips():
    images, others = random_pictures(5, 0, 64), random_pictures(5, 1, 64)
    lpips = LPIPS("alexnet")
    expected = to_numpy(lpips(as_floats(images), as_floats(others))).mean()
    metric = PerceptualDistance(batch_size=2)
    metric.update_state(images[:3], as_floats(others[:3]))
    metric.update_state(images[3:], others[3:])
    assert metric.result() == pytest.approx(expected, rel=1e-4)
    assert isinstance(metric.result(), float)
    metric.reset_state()
    metric.update_state(images, images)
    assert metric.result() == pytest.approx(0.0, abs=1e-6)


def test_takes_another_distance():
    metric = PerceptualDistance(lambda x, y: np.abs(x - y).mean(axis=(1, 2, 3)))
    metric.update_state(
        np.zeros((2, 4, 4, 3), "uint8"), np.full((2, 4, 4, 3), 255, "uint8")
    )
    assert metric.result() == 2.0


def test_config_round_trip():
    metric = PerceptualDistance(LPIPS(min_size=32), batch_size=3, name="d")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert copy.get_config() == metric.get_config()
    assert copy.lpips.get_config()["min_size"] == 32
    assert (copy.batch_size, copy.name) == (3, "d")


def test_refuses_other_shapes():
    metric = PerceptualDistance(LPIPS(min_size=32))
    with pytest.raises(ValueError, match="same shape.*\\(2, 32.*\\(2, 64"):
        metric.update_state(
            random_pictures(2, 0, 32), random_pictures(2, 0, 64)
        )


def test_one_number_a_picture():
    pictures = np.zeros((4, 8, 8, 3), "float32")
    for lpips in (
        lambda a, b: np.ones((len(a), 5, 5)),
        lambda a, b: np.ones(2),
        lambda a, b: np.float32(1),
    ):
        metric = PerceptualDistance(lpips)
        with pytest.raises(ValueError, match="picture"):
            metric.update_state(pictures, pictures)
        assert metric.count == 0
