"""What the metrics that compare features of pictures share."""

import keras
import numpy as np

from keras_muse.metrics.merging import check_mergeable
from keras_muse.metrics.merging import deserialize_entry
from keras_muse.metrics.picture_batches import PictureBatches
from keras_muse.metrics.picture_batches import check_pictures
from keras_muse.runtime.checks import check_array
from keras_muse.runtime.checks import check_int


class FeatureMetric(keras.metrics.Metric):
    """Base of metrics that compare features of real and generated pictures.

    The features are computed on the device, in batches of one size. The state
    is numpy on the host and no Keras variable: a Frechet distance needs
    float64, which JAX lacks by default (the roots of eigenvalues near zero
    magnify the rounding of float32), and other metrics keep every feature, of
    a number not known before. So these metrics are for loops and callbacks,
    and not for `compile(metrics=...)`.

    Floats outside `[-1, 1]`, as a decoder gives them, are clipped: what is
    judged is the picture that people see.

    Subclasses give `new_set`, which makes the state of a set of features, and
    `result`, which compares `self.real` and `self.generated`.

    Args:
        feature_network: function, layer or model of float pictures in
            `[-1, 1]` of shape `(batch, height, width, 3)` that returns
            features `(batch, feature_dim)`. A layer or model is compiled, any
            other function is called as it is. `None` if `update_state`
            receives features instead of pictures.
        batch_size: int. How many pictures go through the network at once.
        name: string or `None`.
    """

    # What those that are merged have in common.
    _merged_by = ("feature_dim",)
    # Of fewer pictures there is no value.
    least_pictures = 2
    # Whether mean and covariance of the real pictures' features are enough.
    needs_moments_only = False
    # Whether the expectation is the same of any number of pictures.
    is_unbiased = False

    def __init__(self, feature_network=None, batch_size=32, name=None):
        super().__init__(name=name)
        self.feature_network = feature_network
        self.batch_size = check_int(batch_size, "batch_size")
        self._network = None
        if feature_network is not None:
            self._network = PictureBatches(feature_network, batch_size)
        self.reset_state()

    def reset_state(self):
        self.real, self.generated = self.new_set(), self.new_set()

    @property
    def feature_dim(self):
        """Length of the features seen so far, or `None`."""
        return self.real.feature_dim or self.generated.feature_dim

    def update_state(self, y_true=None, y_pred=None):
        """Adds real pictures, generated pictures, or both.

        Args:
            y_true: uint8 pictures in `[0, 255]` or float pictures in
                `[-1, 1]`, of shape `(batch, height, width, 3)`; or features
                of shape `(batch, feature_dim)` where there is no network.
            y_pred: the same of generated pictures, of any number.
        """
        if y_true is None and y_pred is None:
            raise ValueError(
                "Either `y_true` or `y_pred` must be given. "
                "Received: y_true=None, y_pred=None"
            )
        # All features are there, and checked, before the state changes.
        real, generated = self.new_set(), self.new_set()
        if y_true is not None:
            real = self.new_set(self._features(y_true, "y_true"))
        if y_pred is not None:
            generated = self.new_set(self._features(y_pred, "y_pred"))
        dims = {self.feature_dim, real.feature_dim, generated.feature_dim}
        if len(dims - {None}) > 1:
            raise ValueError(
                "All features must be of the same length. Received: features "
                f"of length y_true={real.feature_dim}, "
                f"y_pred={generated.feature_dim}, "
                f"before them {self.feature_dim}"
            )
        self.real += real
        self.generated += generated

    def merge_state(self, metrics):
        """Takes in what other metrics have seen, after what this one has.

        Args:
            metrics: iterable of metrics of the same class. They stay as they
                are.
        """
        for metric in check_mergeable(self, metrics, self._merged_by):
            self.real += metric.real
            self.generated += metric.generated

    def get_config(self):
        network = keras.saving.serialize_keras_object(self.feature_network)
        return {
            "name": self.name,
            "feature_network": network,
            "batch_size": self.batch_size,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_entry(config, "feature_network"))

    def _features(self, images, argument):
        if self._network is None:
            features = check_array(images, argument)
        else:
            features = self._network(check_pictures(images, argument))
        if features.ndim != 2 or 0 in features.shape:
            raise ValueError(
                "Features must be of shape (batch, feature_dim), at least "
                f"one. Received: features of `{argument}` of shape "
                f"{features.shape}, with "
                f"feature_network={self.feature_network}"
            )
        # A copy, which later changes of the caller's array do not reach.
        features = features.astype(np.result_type(features, "float32"))
        bad = ~np.isfinite(features).all(axis=1)
        if bad.any():
            raise ValueError(
                "Features must be finite. Received: features of "
                f"`{argument}`, {bad.sum()} of {len(bad)} not finite"
            )
        return features

    def _check_counts(self):
        least = self.least_pictures
        if min(self.real.count, self.generated.count) < least:
            raise ValueError(
                f"{type(self).__name__} needs at least {least} real and "
                f"{least} generated pictures. Received: {self.real.count} "
                f"real (y_true), {self.generated.count} generated (y_pred)"
            )
