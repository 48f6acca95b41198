"""Mean and covariance of true pictures' features, in a file.

The file is that of pytorch-fid and of those who took it over: an `.npz` with
the arrays `mu` and `sigma`. What is written here says also of how many
pictures they are, in the eyes of which network, and at which size; others
pass these by, and files without them are read.
"""

import numpy as np

from keras_muse.files.damage import check_numbers
from keras_muse.files.damage import reading
from keras_muse.files.whole import write_whole_file
from keras_muse.metrics.feature_moments import StoredMoments

# Of a covariance that is computed in float32, between its two halves.
_ASYMMETRY = 1e-3


def write_statistics(path, moments, about):
    """Writes the moments of a set of features.

    Args:
        path: string or path. The file appears whole or not at all.
        moments: `FeatureMoments`.
        about: dict of string to string, `"network"` and `"image_size"`.
    """
    with write_whole_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            mu=moments.mean,
            sigma=moments.covariance(),
            count=moments.count,
            **about,
        )


def read_statistics(path, about, feature_dim):
    """Reads what `write_statistics` or pytorch-fid wrote.

    Args:
        path: string or path.
        about: dict as for `write_statistics`, of what will be compared with
            it.
        feature_dim: int. How many features the network has.

    Returns:
        `StoredMoments`.

    Raises:
        ValueError: if the file is no such file, holds what is no mean or no
            covariance, or is of another network, size or length.
    """
    problem = "has no reference statistics that fit"
    with reading(path, problem), np.load(path, allow_pickle=False) as file:
        _check_origin(file, about)
        moments = StoredMoments(
            _numbers(file, "mu"), _numbers(file, "sigma"), _count(file)
        )
        _check_moments(moments.mean, moments.covariance(), feature_dim)
        return moments


def _numbers(file, name):
    if name not in file:
        raise ValueError(
            f"array `{name}` is missing. Received: arrays {sorted(file)}"
        )
    array = file[name]
    check_numbers(array, name)
    return array.astype("float64")


def _count(file):
    if "count" not in file:
        return None
    count = int(file["count"])
    if count < 2:
        raise ValueError(
            f"statistics are of at least 2 pictures. Received: count={count}"
        )
    return count


def _check_origin(file, about):
    for name in ("network", "image_size"):
        if name in file and str(file[name]) != about[name]:
            raise ValueError(
                f"its features are of {name} {about[name]} where they are "
                f"compared. Received: {name} {file[name]}"
            )


def _check_moments(mean, covariance, feature_dim):
    shapes = (mean.shape, covariance.shape)
    if shapes != ((feature_dim,), (feature_dim, feature_dim)):
        raise ValueError(
            f"`mu` must be of shape ({feature_dim},) and `sigma` of "
            f"({feature_dim}, {feature_dim}), as many as the network has "
            f"features. Received: {shapes[0]} and {shapes[1]}"
        )
    largest = np.abs(covariance).max()
    asymmetry = np.abs(covariance - covariance.T).max()
    if asymmetry > _ASYMMETRY * largest or np.diag(covariance).min() < 0:
        raise ValueError(
            "`sigma` must be a covariance: symmetric, with no variance below "
            f"zero. Received: asymmetry {asymmetry:.3g}, least variance "
            f"{np.diag(covariance).min():.3g}"
        )
