"""A callback that tells what a loss of ignorance would be."""

import math

import keras

from keras_muse.runtime.checks import check_int


class UniformBaseline(keras.callbacks.Callback):
    """Puts the loss of uniform guessing beside the loss.

    A model that gives every code the same probability has a cross-entropy of
    `ln(codebook_size)`. A masked transformer starts there; one that stays
    there has learned nothing, and one above it does harm. The number joins the
    logs of every epoch as `uniform_baseline`, so that the progress bar, the
    history and loggers show it.

    Args:
        codebook_size: integer, at least 1. Number of codes.

    Raises:
        ValueError: if `codebook_size` is less than 1.

    Example:

    ```python
    import keras_muse

    baseline = keras_muse.training.UniformBaseline(8192)
    logs = {"loss": 7.1}
    baseline.on_epoch_end(0, logs)
    logs["uniform_baseline"]  # 9.01
    ```
    """

    def __init__(self, codebook_size):
        super().__init__()
        self.codebook_size = check_int(codebook_size, "codebook_size")

    def on_epoch_end(self, epoch, logs=None):
        # Callbacks share the dict: Keras's own come after the user's.
        if logs is not None:
            logs["uniform_baseline"] = math.log(self.codebook_size)
