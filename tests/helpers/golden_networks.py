"""Pictures for the networks, and what other people's code made of them."""

import pathlib

import keras
import numpy as np

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def noisy_pictures(height, width, number=2):
    """uint8 pictures: smooth colours, an edge, and noise in a part."""
    generator = np.random.RandomState(height)
    row, column = np.mgrid[:height, :width][..., None] / max(height, width)
    pictures = []
    for _ in range(number):
        waves = generator.uniform(2, 12, (2, 3))
        picture = np.sin(waves[0] * row + waves[1] * column) * 100 + 128
        picture[height // 4 : height // 2, width // 3 :] = 30
        noise = generator.uniform(-60, 60, (height // 2, width // 2, 3))
        picture[-(height // 2) :, : width // 2] += noise
        pictures.append(picture)
    return np.clip(np.round(pictures), 0, 255).astype("uint8")


def to_model_range(pictures):
    return pictures.astype("float32") / 127.5 - 1


def assert_equal_to_scale(actual, expected, tolerance=1e-4):
    """Compares to a part of the largest number."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        np.asarray(actual) / scale, expected / scale, atol=tolerance
    )


def compiled(network):
    """A function of images as one program: an op at a time is slow on JAX."""
    model = keras.Sequential([network])
    return lambda images: model.predict(images, verbose=0)
