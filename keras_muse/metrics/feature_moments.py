"""Mean and covariance of features, kept instead of the features."""

import math

import numpy as np


class FeatureMoments:
    """Number, mean and scatter of a set of features, in float64.

    A value: sets are joined by `+`, which gives a new one. Deviations are
    taken from the mean before they are squared, so that a large mean costs
    no precision.

    Args:
        features: array of shape `(count, feature_dim)`, or `None` for the
            empty set.
    """

    def __init__(self, features=None):
        self.count, self.feature_dim = 0, None
        if features is None:
            return
        features = features.astype("float64")
        self.count, self.feature_dim = features.shape
        self.mean = features.mean(axis=0)
        deviations = features - self.mean
        # (feature_dim, feature_dim)
        self.scatter = deviations.T @ deviations

    def __add__(self, other):
        """The pairwise update of Chan, Golub and LeVeque."""
        if 0 in (self.count, other.count):
            return self if other.count == 0 else other
        joined = FeatureMoments()
        joined.count = self.count + other.count
        joined.feature_dim = self.feature_dim
        difference = other.mean - self.mean
        joined.mean = self.mean + difference * (other.count / joined.count)
        between = self.count * other.count / joined.count
        joined.scatter = (
            self.scatter
            + other.scatter
            + between * np.outer(difference, difference)
        )
        return joined

    def covariance(self):
        """The unbiased covariance, `(feature_dim, feature_dim)`."""
        return self.scatter / (self.count - 1)


class StoredMoments:
    """Mean and covariance that were computed elsewhere: a whole set.

    It stands where `FeatureMoments` does, and takes no more features.

    Args:
        mean: float64 array of shape `(feature_dim,)`.
        covariance: float64 array of shape `(feature_dim, feature_dim)`.
        count: int or `None`. Of how many features, if that is known.
    """

    def __init__(self, mean, covariance, count=None):
        self.mean, self._covariance = mean, covariance
        self.feature_dim = len(mean)
        # Of one that is not known, enough.
        self.count = math.inf if count is None else count

    def __add__(self, other):
        if other.count:
            raise ValueError(
                "Stored moments are of a whole set, to which no pictures are "
                f"added. Received: {other.count} more"
            )
        return self

    def covariance(self):
        return self._covariance
