import keras
import numpy as np
import pytest
from scipy import special

from keras_muse.losses import masked_accuracy
from keras_muse.losses import masked_cross_entropy
from tests.helpers.tiny import to_numpy

SHAPE = (4, 6, 10)


@pytest.fixture
def batch():
    generator = np.random.default_rng(0)
    logits = (3 * generator.standard_normal(SHAPE)).astype("float32")
    token_ids = generator.integers(0, SHAPE[2], SHAPE[:2]).astype("int32")
    mask = np.arange(6) < np.array([[6], [1], [3], [2]])
    return token_ids, logits, mask


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.7])
def test_equals_numpy(batch, label_smoothing):
    token_ids, logits, mask = batch
    log_p = special.log_softmax(logits.astype("float64"), axis=-1)
    truth = np.eye(SHAPE[2])[token_ids]
    truth = (1 - label_smoothing) * truth + label_smoothing / SHAPE[2]
    each = -(truth * log_p).sum(axis=-1)
    expected = [row[kept].mean() for row, kept in zip(each, mask, strict=True)]
    actual = masked_cross_entropy(token_ids, logits, mask, label_smoothing)
    np.testing.assert_allclose(to_numpy(actual), expected, rtol=1e-5)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_uniform_guessing_scores_ln_of_the_codebook(batch, label_smoothing):
    token_ids, _, mask = batch
    logits = np.full(SHAPE, 3.0, "float32")
    loss = masked_cross_entropy(token_ids, logits, mask, label_smoothing)
    np.testing.assert_allclose(to_numpy(loss), np.log(10), rtol=1e-6)


def test_only_masked_tokens_count(batch):
    token_ids, logits, mask = batch
    other = np.where(mask[..., None], logits, -logits + 5).astype("float32")
    for function in (masked_cross_entropy, masked_accuracy):
        np.testing.assert_array_equal(
            to_numpy(function(token_ids, other, mask)),
            to_numpy(function(token_ids, logits, mask)),
        )


def test_each_row_counts_as_much(batch):
    """A row with one masked token weighs what a row with all masked does."""
    token_ids, logits, mask = batch
    wrong = np.zeros(SHAPE, "float32")
    loss = to_numpy(masked_cross_entropy(token_ids, wrong, mask))
    np.testing.assert_allclose(loss[0], loss[1], rtol=1e-6)


def test_certainty_costs_nothing_and_no_overflow(batch):
    token_ids, _, mask = batch
    logits = 1e4 * np.eye(SHAPE[2], dtype="float32")[token_ids]
    right = to_numpy(masked_cross_entropy(token_ids, logits, mask))
    np.testing.assert_allclose(right, 0, atol=1e-6)
    wrong = to_numpy(masked_cross_entropy((token_ids + 1) % 10, logits, mask))
    np.testing.assert_allclose(wrong, 1e4)


def test_half_precision_logits_are_summed_in_float32(batch):
    token_ids, logits, mask = batch
    half = keras.ops.cast(logits, "bfloat16")
    loss = masked_cross_entropy(token_ids, half, mask)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    rounded = to_numpy(keras.ops.cast(half, "float32"))
    expected = masked_cross_entropy(token_ids, rounded, mask)
    np.testing.assert_allclose(to_numpy(loss), to_numpy(expected), rtol=1e-6)


def test_accuracy(batch):
    token_ids, logits, mask = batch
    right = logits.argmax(axis=-1) == token_ids
    expected = [row[kept].mean() for row, kept in zip(right, mask, strict=True)]
    actual = masked_accuracy(token_ids, logits, mask)
    np.testing.assert_allclose(to_numpy(actual), expected, rtol=1e-6)
    sure = np.eye(SHAPE[2], dtype="float32")[token_ids]
    np.testing.assert_array_equal(
        to_numpy(masked_accuracy(token_ids, sure, mask)), 1
    )
