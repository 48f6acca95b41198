import numpy as np
import pytest
from scipy import stats

from keras_muse.ops import masking
from keras_muse.ops import noise
from tests.helpers.tiny import to_numpy


def many_ratios(mask_schedule="cosine", num_rows=20_000):
    u = noise.uniform(np.arange(num_rows, dtype="int32"), 0)
    return to_numpy(masking.random_mask_ratio(u, mask_schedule))[:, 0]


def test_ratio_has_the_papers_distribution():
    ratios = many_ratios()
    assert abs(ratios.mean() - 2 / np.pi) < 0.005

    def cumulative(r):
        return 2 / np.pi * np.arcsin(r)

    assert stats.kstest(ratios, cumulative).pvalue > 1e-3


def test_that_of_arccos_has_the_same_mean_and_fewer_extremes():
    ratios = many_ratios("arccos")
    assert abs(ratios.mean() - 2 / np.pi) < 0.005

    def cumulative(r):
        return 1 - np.cos(np.pi / 2 * r)

    assert stats.kstest(ratios, cumulative).pvalue > 1e-3
    of_cosine = many_ratios()
    assert np.mean(ratios < 0.05) < np.mean(of_cosine < 0.05) / 5
    assert np.mean(ratios > 0.95) < np.mean(of_cosine > 0.95) / 2


def test_ratio_quantiles():
    expected = [0.157, 0.383, 0.708, 0.924, 0.988]
    actual = np.quantile(many_ratios(), [0.1, 0.25, 0.5, 0.75, 0.9])
    np.testing.assert_allclose(actual, expected, atol=0.015)


def test_rank_breaks_ties_by_position():
    values = np.array([[3.0, 1.0, 3.0, 1.0, 2.0]], "float32")
    assert to_numpy(masking.rank(values)).tolist() == [[3, 0, 4, 1, 2]]


def test_rank_of_a_long_row_of_ties():
    """Long enough for sorting algorithms that are not stable to show it."""
    values = np.zeros((2, 4096), "float32")
    expected = np.tile(np.arange(4096), (2, 1))
    np.testing.assert_array_equal(to_numpy(masking.rank(values)), expected)


@pytest.mark.parametrize("scores", ["equal", "pairs", "infinite"])
def test_masks_exactly_as_many_as_told(scores):
    rows = {
        "equal": np.zeros(9),
        "pairs": np.repeat([1.0, 0.0, 2.0], 3),
        "infinite": np.array([np.inf] * 6 + [-np.inf] * 3),
    }[scores]
    num_masked = np.arange(10, dtype="int32")
    scores = np.tile(rows.astype("float32"), (10, 1))
    mask = to_numpy(masking.mask_lowest(scores, num_masked))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask.sum(axis=1), num_masked)


def test_masks_the_lowest():
    scores = np.random.default_rng(0).standard_normal((6, 20))
    scores = scores.astype("float32")
    num_masked = np.array([0, 1, 5, 10, 19, 20], "int32")
    mask = to_numpy(masking.mask_lowest(scores, num_masked))
    for row, kept, number in zip(scores, mask, num_masked, strict=True):
        assert set(np.flatnonzero(kept)) == set(np.argsort(row)[:number])


def random_mask(num_rows, num_tokens):
    seeds = np.arange(num_rows, dtype="int32")
    ratio_noise = noise.uniform(seeds, noise.MASK_RATIO_STREAM)
    order_noise = noise.uniform(
        seeds, noise.MASK_ORDER_STREAM, num_positions=num_tokens
    )
    mask = to_numpy(masking.random_mask(ratio_noise, order_noise))
    return mask, to_numpy(ratio_noise)[:, 0]


@pytest.mark.parametrize("num_tokens", [1, 4, 64])
def test_number_of_masked_tokens(num_tokens):
    mask, u = random_mask(500, num_tokens)
    ratio = np.cos(np.pi / 2 * u.astype("float64"))
    expected = np.maximum(1, np.round(ratio * num_tokens))
    np.testing.assert_array_equal(mask.sum(axis=1), expected)


def test_at_least_one_token_is_masked():
    ends = np.array([[1 - 2.0**-24], [2.0**-24]], "float32")
    order = np.random.default_rng(0).uniform(size=(2, 16)).astype("float32")
    mask = to_numpy(masking.random_mask(ends, order))
    assert mask.sum(axis=1).tolist() == [1, 16]


def test_every_position_is_masked_as_often():
    mask, _ = random_mask(4000, 16)
    rate = mask.mean(axis=0)
    # The standard deviation of such a rate is below 0.008.
    assert abs(rate - rate.mean()).max() < 0.03
    assert abs(rate.mean() - 2 / np.pi) < 0.02
