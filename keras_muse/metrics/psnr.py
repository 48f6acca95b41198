"""Peak signal-to-noise ratio."""

import keras
import numpy as np

from keras_muse.metrics.picture_batches import check_same_shape
from keras_muse.metrics.picture_batches import clip_to_display_range
from keras_muse.metrics.picture_mean import PictureMean


@keras.saving.register_keras_serializable(package="keras_muse")
class PSNR(PictureMean):
    """Mean peak signal-to-noise ratio of pictures, in dB.

    Of each picture `10 log10(peak^2 / mean squared error)`, where the peak is
    the whole range, 255 of uint8 pixels or 2 in `[-1, 1]`; then the mean over
    pictures. Higher is better: 20 dB is a coarse and 40 dB a fine
    reconstruction. A picture equal to the true one gives `inf`, and so does
    then the mean. Floats are not rounded to pixels; those outside `[-1, 1]`
    are clipped, as they are when the pictures are stored.

    The metric is for loops and callbacks, not for `compile(metrics=...)`.

    Args:
        name: string. Defaults to `"psnr"`.

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

    metric = keras_muse.metrics.PSNR()
    images = np.full((2, 8, 8, 3), 100, "uint8")
    metric.update_state(images, images + 1)
    metric.result()  # 48.13
    ```
    """

    def __init__(self, name="psnr"):
        super().__init__(name=name)

    def update_state(self, y_true, y_pred):
        y_true, y_pred = check_same_shape(y_true, y_pred)
        difference = clip_to_display_range(y_true).astype(
            "float64"
        ) - clip_to_display_range(y_pred)
        error = np.mean(difference**2, axis=(1, 2, 3))  # (batch,)
        with np.errstate(divide="ignore"):  # of equal pictures
            self.add(10.0 * np.log10(2.0**2 / error))
