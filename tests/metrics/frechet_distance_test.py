import numpy as np
import pytest
import torch
from scipy import linalg
from torchmetrics.image.fid import FrechetInceptionDistance

from keras_muse.metrics import FrechetDistance
from tests.helpers.tiny_features import TorchFeatures


def two_sets(num_real=60, num_generated=50, dim=8):
    draws = np.random.default_rng(0)
    mix = draws.standard_normal((dim, dim))
    real = draws.standard_normal((num_real, dim))
    generated = draws.standard_normal((num_generated, dim)) @ mix + 0.3
    return real, generated


def distance(real, generated):
    metric = FrechetDistance()
    metric.update_state(real, generated)
    return metric.result()


def test_equals_the_formula():
    real, generated = two_sets()
    first = np.cov(real, rowvar=False)
    second = np.cov(generated, rowvar=False)
    root = linalg.sqrtm(first @ second).real
    means = real.mean(axis=0) - generated.mean(axis=0)
    expected = means @ means + np.trace(first + second - 2 * root)
    assert distance(real, generated) == pytest.approx(expected, rel=1e-9)
    assert distance(generated, real) == pytest.approx(expected, rel=1e-9)


def test_equals_torchmetrics():
    real, generated = two_sets()
    peer = FrechetInceptionDistance(TorchFeatures(8))
    metric = FrechetDistance()
    for i in range(0, 60, 20):
        rows = slice(i, i + 20)
        peer.update(torch.tensor(real[rows]), real=True)
        peer.update(torch.tensor(generated[rows]), real=False)
        metric.update_state(real[rows], generated[rows])
    assert metric.result() == pytest.approx(float(peer.compute()), rel=1e-5)


@pytest.mark.parametrize("num_generated", [7, 40])
def test_fewer_pictures_than_features(num_generated):
    real, generated = two_sets(10, num_generated, dim=32)
    # Without covariances: the roots are singular values of X Y^T.
    x, y = (
        (f - f.mean(axis=0)) / np.sqrt(len(f) - 1) for f in (real, generated)
    )
    means = real.mean(axis=0) - generated.mean(axis=0)
    roots = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    expected = means @ means + (x**2).sum() + (y**2).sum() - 2 * roots
    assert distance(real, generated) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [100, 5])
def test_of_identical_sets_is_zero(count):
    real, _ = two_sets(count)
    assert 0 <= distance(real, real[::-1]) < 1e-12


def test_large_means_cost_no_precision():
    real, generated = two_sets()
    moved = distance(real + 1e6, generated + 1e6)
    assert moved == pytest.approx(distance(real, generated), rel=1e-6)


def test_means_count_squared():
    real, _ = two_sets()
    assert distance(real, real + 3.0) == pytest.approx(8 * 3.0**2)


def test_equal_pictures_have_no_spread():
    real = np.ones((3, 4))
    assert distance(real, real + 2.0) == pytest.approx(16.0)


def test_two_pictures_of_each_are_needed():
    real, generated = two_sets()
    with pytest.raises(ValueError, match="2 real.*60 real.*1 generated"):
        distance(real, generated[:1])
    assert distance(real, generated[:2]) > 0
