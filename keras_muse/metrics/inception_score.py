"""The Inception score."""

import keras
import numpy as np
from scipy import special

from keras_muse.metrics.feature_metric import FeatureMetric
from keras_muse.metrics.feature_rows import FeatureRows
from keras_muse.metrics.merging import deserialize_entry
from keras_muse.runtime.checks import check_int


@keras.saving.register_keras_serializable(package="keras_muse")
class InceptionScore(FeatureMetric):
    """Whether a classifier sees clear things in pictures, and many of them.

    `exp` of the mean Kullback-Leibler divergence from the classes of all
    pictures to those of one. 1 where all pictures look alike to the network,
    up to the number of classes where each picture is surely of one class and
    all classes are equally frequent: higher is better. Real pictures are not
    looked at. With `FIDInception(output="logits")` as its network this is the
    score of the literature.

    The pictures are cut into `num_splits` parts in order of arrival, and the
    scores of the parts are averaged. The mean depends on the parts: pictures
    that come class by class must be shuffled first.

    The state, on the host, is the logits of every picture. The metric is for
    loops and callbacks, not for `compile(metrics=...)`.

    Args:
        class_network: function, layer or model of float pictures in `[-1, 1]`
            of shape `(batch, height, width, 3)` that returns logits
            `(batch, num_classes)`, no probabilities. A layer or model is
            compiled. `None` if `update_state` receives logits instead of
            pictures. Defaults to `None`.
        num_splits: int. Number of parts. Defaults to `10`, as in papers.
        batch_size: int. How many pictures go through the network at once.
            Defaults to `32`.
        name: string. Defaults to `"inception_score"`.

    Call arguments:
        y_pred: generated pictures, uint8 in `[0, 255]` or float in `[-1, 1]`,
            of shape `(batch, height, width, 3)`.

    Returns:
        Python float, at least 1, from `result()`.

    Raises:
        ValueError: if `num_splits` is no positive integer, if the pictures or
            logits are not of the shape above or not finite, or if there are
            fewer pictures than parts at `result()`.

    Example:

    ```python
    import numpy as np

    import keras_muse

    metric = keras_muse.metrics.InceptionScore(num_splits=1)
    metric.update_state(100.0 * np.eye(5))  # five pictures, each surely
    metric.result()  # 5.0                  # of another class
    ```

    Reference:
        - [Salimans et al., 2016](https://arxiv.org/abs/1606.03498)
    """

    _merged_by = ("feature_dim", "num_splits")

    def __init__(
        self,
        class_network=None,
        num_splits=10,
        batch_size=32,
        name="inception_score",
    ):
        super().__init__(class_network, batch_size=batch_size, name=name)
        self.num_splits = check_int(num_splits, "num_splits")

    def new_set(self, features=None):
        return FeatureRows(features)

    def update_state(self, y_pred):
        super().update_state(y_pred=y_pred)

    def result(self):
        if self.generated.count < self.num_splits:
            raise ValueError(
                "InceptionScore needs at least as many pictures as parts. "
                f"Received: {self.generated.count} pictures (y_pred), "
                f"num_splits={self.num_splits}"
            )
        parts = np.array_split(self.generated.array(), self.num_splits)
        return float(np.mean([_score(logits) for logits in parts]))

    def get_config(self):
        config = super().get_config()
        config["class_network"] = config.pop("feature_network")
        return {**config, "num_splits": self.num_splits}

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_entry(config, "class_network"))


def _score(logits):
    log_classes = special.log_softmax(logits, axis=1)  # log p(y | x)
    # log p(y); from logarithms, so that no rare class becomes log 0.
    log_mean = special.logsumexp(log_classes, axis=0) - np.log(len(logits))
    divergence = np.exp(log_classes) * (log_classes - log_mean)
    # Of equal rows rounding can make a little less.
    return max(1.0, np.exp(divergence.sum(axis=1).mean()))
