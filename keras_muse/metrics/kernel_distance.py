"""The kernel distance of pictures: KID."""

import keras
import numpy as np

from keras_muse.metrics.feature_metric import FeatureMetric
from keras_muse.metrics.feature_rows import FeatureRows
from keras_muse.metrics.feature_rows import row_blocks


@keras.saving.register_keras_serializable(package="keras_muse")
class KernelDistance(FeatureMetric):
    """Kernel distance between features of real and generated pictures.

    The squared maximum mean discrepancy with the kernel
    `(x.y / feature_dim + 1)^3`, estimated without bias: its expectation does
    not depend on the number of pictures, and is zero for equal distributions,
    so that a single value may be slightly negative. Lower is better. With
    `FIDInception` as its network this is the KID of the literature (some
    tables show a thousand times the value).

    The mean goes over all pairs. The usual mean over random subsets has the
    same expectation, and adds the noise of their choice.

    The state, on the host, is every feature: 8 KiB a picture for 2048 of
    them; the time of `result()` grows with the square of their number. The
    metric is for loops and callbacks, not for `compile(metrics=...)`.

    Args:
        feature_network: function, layer or model of float pictures in
            `[-1, 1]` of shape `(batch, height, width, 3)` that returns
            features `(batch, feature_dim)`. A layer or model is compiled.
            `None` if `update_state` receives features `(batch, feature_dim)`
            instead of pictures. Defaults to `None`.
        batch_size: int. How many pictures go through the network at once.
            Defaults to `32`.
        name: string. Defaults to `"kernel_distance"`.

    Call arguments:
        y_true: real pictures, uint8 in `[0, 255]` or float in `[-1, 1]`, of
            shape `(batch, height, width, 3)`, or `None`.
        y_pred: generated pictures, likewise. The two may differ in number.

    Returns:
        Python float, from `result()`.

    Raises:
        ValueError: if the pictures or features are not of the shape above or
            not finite, or if there are fewer than two of each at `result()`.

    Example:

    ```python
    import numpy as np

    import keras_muse

    metric = keras_muse.metrics.KernelDistance()
    draws = np.random.RandomState(0)
    metric.update_state(draws.normal(size=(200, 4)), draws.normal(size=(90, 4)))
    metric.result()  # 0.06, of one distribution
    ```

    Reference:
        - [Binkowski et al., 2018](https://arxiv.org/abs/1801.01401)
    """

    is_unbiased = True

    def __init__(
        self, feature_network=None, batch_size=32, name="kernel_distance"
    ):
        super().__init__(feature_network, batch_size=batch_size, name=name)

    def new_set(self, features=None):
        return FeatureRows(features)

    def result(self):
        self._check_counts()
        real, generated = self.real.array(), self.generated.array()
        across = _kernel_sum(real, generated) / (len(real) * len(generated))
        within = _mean_of_others(real) + _mean_of_others(generated)
        return float(within - 2.0 * across)


def _mean_of_others(features):
    """Mean kernel of two different pictures of one set."""
    count = len(features)
    squares = np.einsum("nd,nd->n", features, features)
    same = _kernel(squares, features.shape[1]).sum()
    return (_kernel_sum(features, features) - same) / (count * (count - 1))


def _kernel_sum(first, second):
    feature_dim = first.shape[1]
    return sum(
        _kernel(first[rows] @ second.T, feature_dim).sum()
        for rows in row_blocks(len(first), len(second))
    )


def _kernel(products, feature_dim):
    return (products / feature_dim + 1.0) ** 3
