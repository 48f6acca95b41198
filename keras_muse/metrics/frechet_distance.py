"""The Frechet distance of pictures: FID."""

import keras
import numpy as np

from keras_muse.metrics.feature_metric import FeatureMetric
from keras_muse.metrics.feature_moments import FeatureMoments


@keras.saving.register_keras_serializable(package="keras_muse")
class FrechetDistance(FeatureMetric):
    """Frechet distance between features of real and generated pictures.

    The features of each set are taken for a normal distribution, with mean
    `m` and covariance `C`. The distance of the two is
    `|m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2))`: zero for equal
    distributions, and lower is better.

    With `FIDInception` as its network this is the FID of the literature. It
    falls with the number of pictures: compare values of equal numbers only,
    30,000 or 50,000 in papers. Between pictures and their reconstructions it
    is the rFID of a tokenizer:
    `metric.update_state(images, tokenizer.predict(images))`. Floats reach the
    network unrounded, clipped to [-1, 1]; `FIDInception` rounds them to 8
    bits, as in pictures that were stored.

    The state, on the host, is the number, mean and scatter of each set in
    float64, so its size does not depend on the number of pictures. The metric
    is for loops and callbacks, not for `compile(metrics=...)`.

    Args:
        feature_network: function, layer or model of float pictures in
            `[-1, 1]` of shape `(batch, height, width, 3)` that returns
            features `(batch, feature_dim)`. A layer or model is compiled.
            `None` if `update_state` receives features `(batch, feature_dim)`
            instead of pictures. Defaults to `None`.
        batch_size: int. How many pictures go through the network at once.
            Defaults to `32`.
        name: string. Defaults to `"frechet_distance"`.

    Call arguments:
        y_true: real pictures, uint8 in `[0, 255]` or float in `[-1, 1]`, of
            shape `(batch, height, width, 3)`, or `None`.
        y_pred: generated pictures, likewise. The two may differ in number.

    Returns:
        Python float, from `result()`. Never negative.

    Raises:
        ValueError: if the pictures or features are not of the shape above or
            not finite, or if there are fewer than two of each at `result()`.

    Example:

    ```python
    import numpy as np

    import keras_muse

    metric = keras_muse.metrics.FrechetDistance()
    features = np.random.RandomState(0).normal(size=(100, 4))
    metric.update_state(features, features + 1.0)
    metric.result()  # 4.0
    ```

    Reference:
        - [Heusel et al., 2017](https://arxiv.org/abs/1706.08500)
    """

    needs_moments_only = True

    def __init__(
        self, feature_network=None, batch_size=32, name="frechet_distance"
    ):
        super().__init__(feature_network, batch_size=batch_size, name=name)

    def new_set(self, features=None):
        return FeatureMoments(features)

    def result(self):
        self._check_counts()
        between = np.sum((self.real.mean - self.generated.mean) ** 2)
        first = self.real.covariance()
        second = self.generated.covariance()
        # C1 C2 has the eigenvalues of R R^T, with R = C1^(1/2) C2^(1/2);
        # their roots are the singular values of R. Taken so, no root
        # magnifies the rounding of a product.
        roots = np.linalg.svd(_root(first).T @ _root(second), compute_uv=False)
        spread = np.trace(first) + np.trace(second) - 2.0 * roots.sum()
        # Below zero by rounding only.
        return max(0.0, float(between + spread))


def _root(covariance):
    """`A` of shape `(feature_dim, rank)` with `A A^T = covariance`."""
    values, vectors = np.linalg.eigh(covariance)
    # Fewer pictures than features leave zeros, which rounding hides.
    rounding = values[-1] * len(values) * np.finfo("float64").eps
    kept = values > rounding
    return vectors[:, kept] * np.sqrt(values[kept])
