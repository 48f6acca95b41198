import keras
import numpy as np
import pytest
from scipy import special

from keras_muse.ops import quantization
from tests.helpers.tiny import to_numpy


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def test_squared_distances_equal_numpy():
    vectors, codebook = random(10, 4), random(7, 4, seed=1)
    expected = ((vectors[:, None] - codebook[None]) ** 2).sum(axis=-1)
    actual = to_numpy(quantization.squared_distances(vectors, codebook))
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_distances_of_half_precision_vectors_are_float32():
    vectors, codebook = random(10, 4), random(7, 4, seed=1)
    half = keras.ops.cast(vectors, "bfloat16")
    actual = quantization.squared_distances(half, codebook)
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    rounded = to_numpy(keras.ops.cast(half, "float32"))
    expected = ((rounded[:, None] - codebook[None]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(to_numpy(actual), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_straight_through_has_the_value_of_the_codes(dtype):
    vectors = keras.ops.cast(8 * random(64, 4), dtype)
    quantized = keras.ops.cast(random(64, 4, seed=1), dtype)
    actual = quantization.straight_through(vectors, quantized)
    np.testing.assert_array_equal(
        to_numpy(keras.ops.cast(actual, "float32")),
        to_numpy(keras.ops.cast(quantized, "float32")),
    )


def numpy_entropy_loss(distances, temperature):
    p = special.softmax(-distances.astype("float64") / temperature, axis=-1)
    sample = -special.xlogy(p, p).sum(axis=-1).mean()
    mean = p.mean(axis=0)
    return sample + special.xlogy(mean, mean).sum()


@pytest.mark.parametrize("temperature", [0.01, 1.0])
def test_entropy_loss_equals_numpy(temperature):
    distances = random(20, 8) ** 2
    actual = quantization.entropy_loss(distances, temperature)
    expected = numpy_entropy_loss(distances, temperature)
    np.testing.assert_allclose(float(actual), expected, atol=1e-4)


def test_entropy_loss_rewards_certainty_and_spread():
    spread = 100.0 * (1 - np.eye(8, dtype="float32"))
    collapsed = np.tile(spread[:1], (8, 1))
    undecided = np.zeros((8, 8), "float32")
    loss = [
        float(quantization.entropy_loss(d))
        for d in (spread, collapsed, undecided)
    ]
    np.testing.assert_allclose(loss, [-np.log(8), 0, 0], atol=1e-5)


@pytest.mark.parametrize(
    "counts, expected",
    [([5, 5, 5, 5], 4), ([0, 3, 3, 0], 2), ([0, 0, 9, 0], 1), ([0] * 4, 1)],
)
def test_perplexity(counts, expected):
    actual = quantization.perplexity(np.array(counts, "float32"))
    np.testing.assert_allclose(float(actual), expected, rtol=1e-5)
