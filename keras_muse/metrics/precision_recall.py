"""Precision and recall of generated pictures."""

import keras
import numpy as np

from keras_muse.metrics.feature_metric import FeatureMetric
from keras_muse.metrics.feature_rows import FeatureRows
from keras_muse.metrics.feature_rows import row_blocks
from keras_muse.runtime.checks import check_int

# Of the squared lengths. Features that differ by less come from one picture.
_ROUNDING = 1e-11


@keras.saving.register_keras_serializable(package="keras_muse")
class PrecisionRecall(FeatureMetric):
    """How many generated pictures look real, and how many real ones are met.

    A set of pictures covers the balls around its features that reach to the
    `num_neighbors`-th nearest feature of the same set. Precision is the part
    of generated pictures in what the real ones cover; recall is the part of
    real pictures in what the generated ones cover. Both rise with the number
    of pictures: compare values of equal numbers only. The paper takes 50,000
    of each, three neighbours, and features of VGG16.

    The state, on the host, is every feature. The metric is for loops and
    callbacks, not for `compile(metrics=...)`.

    Args:
        feature_network: function, layer or model of float pictures in
            `[-1, 1]` of shape `(batch, height, width, 3)` that returns
            features `(batch, feature_dim)`. A layer or model is compiled.
            `None` if `update_state` receives features `(batch, feature_dim)`
            instead of pictures. Defaults to `None`.
        num_neighbors: int. Which neighbour gives the radius of a ball.
            Defaults to `3`.
        batch_size: int. How many pictures go through the network at once.
            Defaults to `32`.
        name: string. Defaults to `"precision_recall"`.

    Call arguments:
        y_true: real pictures, uint8 in `[0, 255]` or float in `[-1, 1]`, of
            shape `(batch, height, width, 3)`, or `None`.
        y_pred: generated pictures, likewise. The two may differ in number.

    Returns:
        Dict of Python floats `"precision"` and `"recall"` in `[0, 1]`, from
        `result()`.

    Raises:
        ValueError: if `num_neighbors` is no positive integer, if the pictures
            or features are not of the shape above or not finite, or if there
            are no more than `num_neighbors` of each at `result()`.

    Example:

    ```python
    import numpy as np

    import keras_muse

    metric = keras_muse.metrics.PrecisionRecall(num_neighbors=1)
    metric.update_state([[0.0], [1.0], [8.0]], [[0.5], [0.6], [2.5]])
    metric.result()  # {"precision": 1.0, "recall": 0.333...}
    ```

    Reference:
        - [Kynkaanniemi et al., 2019](https://arxiv.org/abs/1904.06991)
    """

    _merged_by = ("feature_dim", "num_neighbors")

    def __init__(
        self,
        feature_network=None,
        num_neighbors=3,
        batch_size=32,
        name="precision_recall",
    ):
        super().__init__(feature_network, batch_size=batch_size, name=name)
        self.num_neighbors = check_int(num_neighbors, "num_neighbors")
        self.least_pictures = self.num_neighbors + 1

    def new_set(self, features=None):
        return FeatureRows(features)

    def result(self):
        self._check_counts()
        real, generated = self.real.array(), self.generated.array()
        # Distances do not change, and their rounding is less.
        center = real.mean(axis=0)
        real, generated = real - center, generated - center
        return {
            "precision": _covered(generated, real, self.num_neighbors),
            "recall": _covered(real, generated, self.num_neighbors),
        }

    def get_config(self):
        return {**super().get_config(), "num_neighbors": self.num_neighbors}


def _covered(features, others, num_neighbors):
    """Part of `features` inside a ball around one of `others`."""
    radii = _squared_radii(others, num_neighbors)  # (num_others,)
    inside = 0
    for rows in row_blocks(len(features), len(others)):
        distances = _squared_distances(features[rows], others)
        inside += (distances <= radii).any(axis=1).sum()
    return float(inside / len(features))


def _squared_radii(features, num_neighbors):
    radii = []
    for rows in row_blocks(len(features), len(features)):
        distances = _squared_distances(features[rows], features)
        # No feature is a neighbour of itself.
        itself = np.arange(len(features))[rows]
        distances[np.arange(len(distances)), itself] = np.inf
        nearest = np.partition(distances, num_neighbors - 1, axis=1)
        radii.append(nearest[:, num_neighbors - 1])
    return np.concatenate(radii)


def _squared_distances(first, second):
    """`(num_first, num_second)`, exactly zero for equal features."""
    lengths = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)
    distances = lengths - 2.0 * (first @ second.T)
    distances[distances < _ROUNDING * lengths] = 0.0
    return distances
