import keras
import numpy as np
import pytest
import torch
from torchmetrics.image import PeakSignalNoiseRatio

from keras_muse.metrics import PSNR
from tests.helpers.tiny_features import random_pictures


def damaged(images):
    """Each picture more than the one before."""
    noise = np.random.default_rng(0).standard_normal(images.shape)
    noise *= 5.0 * (1 + np.arange(len(images))).reshape(-1, 1, 1, 1)
    return np.clip(images + noise, 0, 255).astype("uint8")


def psnr(y_true, y_pred):
    metric = PSNR()
    metric.update_state(y_true, y_pred)
    return metric.result()


def as_floats(images):
    return (images / 127.5 - 1.0).astype("float32")


def test_equals_torchmetrics():
    images = random_pictures(4)
    other = damaged(images)
    peer = PeakSignalNoiseRatio(data_range=255.0, dim=(1, 2, 3))
    peer.update(torch.tensor(other).float(), torch.tensor(images).float())
    expected = pytest.approx(float(peer.compute()), rel=1e-5)
    assert psnr(images, other) == expected
    assert psnr(images, as_floats(other)) == expected
    assert psnr(as_floats(images), as_floats(other)) == expected
    metric = PSNR()
    for i in range(4):
        metric.update_state(images[i : i + 1], other[i : i + 1])
    assert metric.result() == expected


def test_one_level_of_256():
    images = random_pictures(1) // 2
    assert psnr(images, images + 1) == pytest.approx(
        20 * np.log10(255), abs=1e-4
    )


def test_equal_pictures_are_infinitely_good():
    images = random_pictures(2)
    assert psnr(images, images) == np.inf
    half = np.concatenate([images[:1], damaged(images)[1:]])
    assert psnr(images, half) == np.inf


def test_floats_out_of_range_are_clipped():
    images = random_pictures(2)
    white = np.full((2, 8, 8, 3), 255, "uint8")
    assert psnr(images, np.full((2, 8, 8, 3), 1.4)) == psnr(images, white)


def test_refuses_what_it_cannot_compare():
    images = random_pictures(2)
    with pytest.raises(ValueError, match="same shape.*\\(2, 8.*\\(1, 8"):
        psnr(images, images[:1])
    with pytest.raises(ValueError, match="`y_pred`.*\\(8, 8, 3\\)"):
        psnr(images, images[0])
    with pytest.raises(ValueError, match="must be a number.*nan"):
        psnr(images, np.full((2, 8, 8, 3), np.nan))
    with pytest.raises(ValueError, match="Received: 0 pictures"):
        PSNR().result()


def test_reset_and_config():
    metric = PSNR(name="ratio")
    images = random_pictures(2)
    metric.update_state(images, images)
    metric.reset_state()
    metric.update_state(images, damaged(images))
    assert metric.result() < 40
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert copy.get_config() == metric.get_config() == {"name": "ratio"}
