"""What the metrics that are a mean over pictures share."""

import keras
import numpy as np

from keras_muse.metrics.merging import check_mergeable


class PictureMean(keras.metrics.Metric):
    """Base of metrics that are the mean of a number per picture.

    The state, number and total, is kept on the host in float64; see
    `FeatureMetric`. Subclasses call `add` in their `update_state`.

    Args:
        name: string or `None`.
    """

    def __init__(self, name=None):
        super().__init__(name=name)
        self.reset_state()

    def reset_state(self):
        self.count, self.total = 0, 0.0

    def add(self, values):
        """Adds numbers of shape `(batch,)`, of which none may be NaN."""
        values = np.asarray(values, "float64")
        if values.size != len(values):
            raise ValueError(
                f"{type(self).__name__} of a picture must be one number. "
                f"Received: shape {values.shape}"
            )
        if np.isnan(values).any():
            raise ValueError(
                f"{type(self).__name__} of a picture must be a number. "
                f"Received: pictures that give {values}"
            )
        self.count += len(values)
        self.total += float(values.sum())

    def result(self):
        if self.count == 0:
            raise ValueError(
                f"{type(self).__name__} needs at least one picture. "
                "Received: 0 pictures"
            )
        return self.total / self.count

    def merge_state(self, metrics):
        """Takes in what other metrics have seen.

        Args:
            metrics: iterable of metrics of the same class. They stay as they
                are.
        """
        for metric in check_mergeable(self, metrics):
            self.count += metric.count
            self.total += metric.total

    def get_config(self):
        return {"name": self.name}
