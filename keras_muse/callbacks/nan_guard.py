"""A callback that names the loss which is no number any more."""

import math

import keras

_ADVICE = {
    "reconstruction_loss": (
        "Check that the pixels are finite and in range; lower the learning "
        "rate."
    ),
    "perceptual_loss": (
        "Check that the pixels are finite and in range; compute the perceptual "
        "network in float32."
    ),
    "adversarial_loss": (
        "Start the discriminator later, lower the adversarial weight or the "
        "discriminator's learning rate."
    ),
    "discriminator_loss": (
        "Start the discriminator later, lower its learning rate or raise its "
        "gradient penalty."
    ),
    "commitment_loss": (
        "The encoder runs away from its codes: lower the learning rate or "
        "raise the commitment weight."
    ),
    "entropy_loss": "Lower the entropy weight.",
}
_GENERAL_ADVICE = (
    "Lower the learning rate or warm it up for longer, clip gradients with "
    "`global_clipnorm=1.0`, and take bfloat16 in place of float16."
)


class NaNGuard(keras.callbacks.Callback):
    """Ends the training at the first loss that is not finite, and names it.

    A total loss that is NaN says little where it has several terms. This looks
    at each of them after every batch, at `loss` and all that ends in `_loss`,
    and raises an error with the names of those that broke, their last finite
    values, the batch, the epoch, and what usually helps.

    An error and no quiet stop, for the weights are most likely spoilt too: no
    other callback gets to save them over the last good checkpoint. The price
    is that the losses are read after every batch, as a progress bar does.

    Raises:
        RuntimeError: during `fit`, at the first loss that is not finite.

    Example:

    ```python
    import keras
    import numpy as np

    import keras_muse

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    guard = keras_muse.training.NaNGuard()
    model.fit(np.ones((8, 4)), np.ones((8, 1)), callbacks=[guard])
    ```
    """

    def __init__(self):
        super().__init__()
        self._epoch = 0
        self._last_losses = {}

    def on_train_begin(self, logs=None):
        self._last_losses = {}

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        losses = {
            name: float(value)
            for name, value in (logs or {}).items()
            if name == "loss" or name.endswith("_loss")
        }
        # Logs are means over the epoch and stay broken: the first one counts.
        broken = [
            name for name, value in losses.items() if not math.isfinite(value)
        ]
        if broken:
            raise RuntimeError(self._report(batch, broken, losses))
        self._last_losses = losses

    def _report(self, batch, broken, losses):
        # The total breaks with any of its terms, so it is to blame only alone.
        guilty = [name for name in broken if name != "loss"] or ["loss"]
        if len(guilty) > 1 and len(broken) == len(losses):
            advice = [
                "All losses broke at once: the last update spoilt the weights, "
                f"or the batch holds values that are no numbers. "
                f"{_GENERAL_ADVICE}"
            ]
        else:
            advice = dict.fromkeys(
                _ADVICE.get(name, _GENERAL_ADVICE) for name in guilty
            )
        values = ", ".join(f"{name}={losses[name]}" for name in guilty)
        before = ", ".join(
            f"{name}={value:.4g}" for name, value in self._last_losses.items()
        )
        return (
            f"Not a finite loss in epoch {self._epoch + 1}, batch {batch + 1}: "
            f"{values}. The means before: {before or 'none, the first batch'}. "
            + " ".join(advice)
        )
