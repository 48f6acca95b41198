"""Moments of features, against numpy's of all features at once."""

import numpy as np
import pytest

from keras_muse.metrics.feature_moments import FeatureMoments
from keras_muse.metrics.feature_moments import StoredMoments

FEATURES = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")


def check(moments, features):
    assert moments.count == len(features)
    wide = features.astype("float64")
    np.testing.assert_allclose(moments.mean, wide.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(
        moments.covariance(), np.cov(wide, rowvar=False), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("sizes", [(30,), (1, 29), (7, 1, 12, 10)])
def test_joined_sets_have_the_moments_of_all(sizes):
    joined = FeatureMoments()
    for part in np.split(FEATURES, np.cumsum(sizes)[:-1]):
        joined += FeatureMoments(part)
    check(joined, FEATURES)


def test_sets_are_joined_in_any_order_and_stay_as_they_are():
    first, second = FeatureMoments(FEATURES[:9]), FeatureMoments(FEATURES[9:])
    check(second + first, FEATURES)
    check(first, FEATURES[:9])
    check(second, FEATURES[9:])
    check(FeatureMoments() + first, FEATURES[:9])
    check(first + FeatureMoments(), FEATURES[:9])


def test_a_large_mean_costs_no_precision():
    """Squares would have 16 digits, and lose all of the deviations."""
    features = FEATURES.astype("float64") + 1e8
    joined = FeatureMoments(features[:11]) + FeatureMoments(features[11:])
    np.testing.assert_allclose(
        joined.covariance(),
        np.cov(FEATURES, rowvar=False),
        atol=1e-6,
    )


def test_stored_moments_are_of_a_whole_set():
    stored = StoredMoments(np.zeros(4), np.eye(4), count=9)
    assert (stored + FeatureMoments()) is stored
    assert stored.feature_dim == 4 and stored.count == 9
    np.testing.assert_array_equal(stored.covariance(), np.eye(4))
    with pytest.raises(ValueError, match="whole set.*Received: 30 more"):
        stored + FeatureMoments(FEATURES)
    # Enough for every metric, where nobody knows how many.
    assert StoredMoments(np.zeros(4), np.eye(4)).count > 10**9
