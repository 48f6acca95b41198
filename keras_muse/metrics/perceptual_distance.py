"""Mean LPIPS of pictures."""

import keras

from keras_muse.losses.lpips import LPIPS
from keras_muse.metrics.merging import deserialize_entry
from keras_muse.metrics.picture_batches import PictureBatches
from keras_muse.metrics.picture_batches import check_same_shape
from keras_muse.metrics.picture_mean import PictureMean


@keras.saving.register_keras_serializable(package="keras_muse")
class PerceptualDistance(PictureMean):
    """Mean LPIPS distance between pictures and their reconstructions.

    Zero for equal pictures, about 0.1 for a mild blur, 0.5 and more for
    unrelated ones: lower is better. Floats outside `[-1, 1]` are clipped, as
    they are when the pictures are stored.

    The metric is for loops and callbacks, not for `compile(metrics=...)`.

    Args:
        lpips: `keras_muse.losses.LPIPS`, or another layer or function of two
            batches of float pictures in `[-1, 1]` that returns a distance a
            picture. `None` is `LPIPS("alexnet")`, which comes with the
            package. Papers say which network they took, AlexNet or VGG16, and
            most implementations do not enlarge small pictures: for a
            comparison with theirs set `min_size=32`. Defaults to `None`.
        batch_size: int. How many pairs go through the network at once.
            Defaults to `32`.
        name: string. Defaults to `"perceptual_distance"`.

    Call arguments:
        y_true: pictures, uint8 in `[0, 255]` or float in `[-1, 1]`, of shape
            `(batch, height, width, 3)`.
        y_pred: their reconstructions, of the same shape, either dtype.

    Returns:
        Python float, from `result()`.

    Raises:
        ValueError: if the pictures are not of the shape above, of different
            shapes, or not numbers, or if there is none at `result()`.

    Example:

    ```python
    import numpy as np

    import keras_muse

    metric = keras_muse.metrics.PerceptualDistance()
    images = np.random.RandomState(0).randint(0, 256, (2, 64, 64, 3), "uint8")
    metric.update_state(images, images)
    metric.result()  # 0.0
    ```

    Reference:
        - [Zhang et al., 2018](https://arxiv.org/abs/1801.03924)
    """

    def __init__(self, lpips=None, batch_size=32, name="perceptual_distance"):
        super().__init__(name=name)
        self.lpips = LPIPS("alexnet") if lpips is None else lpips
        self._network = PictureBatches(self.lpips, batch_size)
        self.batch_size = self._network.batch_size

    def update_state(self, y_true, y_pred):
        self.add(self._network(*check_same_shape(y_true, y_pred)))

    def get_config(self):
        return {
            **super().get_config(),
            "lpips": keras.saving.serialize_keras_object(self.lpips),
            "batch_size": self.batch_size,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_entry(config, "lpips"))
