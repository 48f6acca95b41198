"""Statistics of true pictures in a file, as pytorch-fid writes them."""

import numpy as np
import pytest

from keras_muse.evaluation.reference_statistics import read_statistics
from keras_muse.evaluation.reference_statistics import write_statistics
from keras_muse.metrics import FrechetDistance
from keras_muse.metrics.feature_moments import FeatureMoments

ABOUT = {"network": "Eyes", "image_size": "24 x 24"}
FEATURES = np.random.default_rng(0).normal(2.0, 1.0, (50, 6))


def read(path, **changes):
    return read_statistics(path, {**ABOUT, **changes}, 6)


def save(path, **arrays):
    """A file of somebody else's."""
    arrays = {
        "mu": FEATURES.mean(axis=0),
        "sigma": np.cov(FEATURES, rowvar=False),
        **arrays,
    }
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def test_what_was_written_is_read_and_others_read_it(tmp_path):
    path = tmp_path / "true.npz"
    write_statistics(path, FeatureMoments(FEATURES), ABOUT)
    moments = read(path)
    np.testing.assert_allclose(moments.mean, FEATURES.mean(axis=0))
    np.testing.assert_allclose(
        moments.covariance(), np.cov(FEATURES, rowvar=False)
    )
    assert moments.count == 50
    with np.load(path) as file:  # as pytorch-fid does
        mean, covariance = file["mu"][:], file["sigma"][:]
    np.testing.assert_array_equal(mean, moments.mean)
    np.testing.assert_array_equal(covariance, moments.covariance())


def test_a_file_of_pytorch_fid_stands_for_its_pictures(tmp_path):
    """It names neither network nor size, nor how many pictures."""
    others = FEATURES[::2] * 1.5 + 1
    direct, stored = FrechetDistance(), FrechetDistance()
    direct.update_state(FEATURES, others)
    stored.real = read(save(tmp_path / "true.npz"))
    stored.update_state(None, others)
    assert stored.result() == pytest.approx(direct.result(), rel=1e-9)
    with pytest.raises(ValueError, match="whole set.*Received: 50 more"):
        stored.update_state(FEATURES, None)


COVARIANCE = np.cov(FEATURES, rowvar=False)
SKEW = COVARIANCE + np.triu(np.ones((6, 6)))


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"mu": None}, "array `mu` is missing"),
        ({"mu": np.ones(5)}, r"`mu` must be of shape \(6,\).*\(5,\) and"),
        ({"sigma": COVARIANCE[:5]}, r"\(5, 6\)"),
        ({"sigma": COVARIANCE * np.nan}, "`sigma` has values that are NaN"),
        ({"mu": np.array(["a"] * 6)}, "`mu` is of <U1, not of numbers"),
        ({"sigma": SKEW}, "must be a covariance.*asymmetry 1"),
        ({"sigma": -COVARIANCE}, "must be a covariance.*least variance -"),
        ({"count": 1}, "Received: count=1"),
        ({"network": "Ears"}, "network Eyes where.*Received: network Ears"),
        ({"image_size": "8 x 8"}, "image_size 24 x 24 where.*8 x 8"),
        ({"mu": np.array([{}] * 6)}, "allow_pickle=False"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, arrays, message):
    path = save(tmp_path / "true.npz", **arrays)
    with pytest.raises(ValueError, match=f"true.npz.*{message}"):
        read(path)


@pytest.mark.parametrize("num_bytes", [0, 10, 400])
def test_a_damaged_file_is_named(tmp_path, num_bytes):
    path = save(tmp_path / "true.npz")
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(ValueError, match="true.npz"):
        read(path)
