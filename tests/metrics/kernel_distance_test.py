import numpy as np
import pytest
import torch
from torchmetrics.image.kid import KernelInceptionDistance

from keras_muse.metrics import KernelDistance
from keras_muse.metrics import feature_rows
from tests.helpers.tiny_features import TorchFeatures


def two_sets(num_real=40, num_generated=40, dim=6):
    draws = np.random.default_rng(0)
    real = draws.standard_normal((num_real, dim))
    return real, 1.3 * draws.standard_normal((num_generated, dim)) + 0.2


def distance(real, generated):
    metric = KernelDistance()
    metric.update_state(real, generated)
    return metric.result()


def mean_over_pairs(real, generated):
    """The estimator, pair by pair."""

    def kernel(x, y):
        return (x @ y / len(x) + 1) ** 3

    def within(rows):
        return np.mean(
            [
                kernel(x, y)
                for i, x in enumerate(rows)
                for j, y in enumerate(rows)
                if i != j
            ]
        )

    across = np.mean([kernel(x, y) for x in real for y in generated])
    return within(real) + within(generated) - 2 * across


def test_equals_torchmetrics():
    real, generated = two_sets()
    peer = KernelInceptionDistance(
        TorchFeatures(6), subsets=1, subset_size=len(real)
    )
    peer.update(torch.tensor(real), real=True)
    peer.update(torch.tensor(generated), real=False)
    expected, _ = peer.compute()
    assert distance(real, generated) == pytest.approx(float(expected), rel=1e-5)


def test_is_the_mean_over_pairs_of_unequal_sets():
    real, generated = two_sets(17, 9)
    assert distance(real, generated) == pytest.approx(
        mean_over_pairs(real, generated), rel=1e-9
    )


def test_blocks_change_nothing(monkeypatch):
    real, generated = two_sets(17, 9)
    expected = distance(real, generated)
    monkeypatch.setattr(feature_rows, "_BLOCK_PAIRS", 40)
    assert len(feature_rows.row_blocks(17, 9)) == 5
    assert distance(real, generated) == pytest.approx(expected, rel=1e-12)


def test_has_no_bias():
    """The mean over pairs of few pictures is that of many."""
    real, generated = two_sets(400, 400)

    def of_fours(first, second):
        starts = range(0, len(first), 4)
        return [distance(first[i : i + 4], second[i : i + 4]) for i in starts]

    parts = of_fours(real, generated)
    error = np.std(parts) / np.sqrt(len(parts))
    assert abs(np.mean(parts) - distance(real, generated)) < 3 * error
    # Of one distribution it is about zero, and may be below.
    parts = of_fours(real[:200], real[200:])
    error = np.std(parts) / np.sqrt(len(parts))
    assert abs(np.mean(parts)) < 3 * error and min(parts) < 0


def test_two_pictures_of_each_are_needed():
    real, generated = two_sets()
    with pytest.raises(ValueError, match="1 real .*, 40 generated"):
        distance(real[:1], generated)
