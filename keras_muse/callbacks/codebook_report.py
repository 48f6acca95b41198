"""A callback that tells how a codebook fares."""

import warnings

import keras

from keras_muse.runtime.checks import check_number


class CodebookReport(keras.callbacks.Callback):
    """Says after every epoch how much of the codebook is in use.

    Reads `codebook_usage`, the part of the codes that served at least once in
    the epoch, and `codebook_perplexity`, how many codes carry the load, from
    the logs, where `VQGANTokenizer` puts them. Warns once per training when
    too few are in use: the masked transformer can draw no others, so most of
    the codebook is then dead weight and pictures lack detail.

    Args:
        warn_below: float in [0, 1]. Usage that is too low. Defaults to `0.25`.

    Raises:
        ValueError: if `warn_below` is not in [0, 1].

    Example:

    ```python
    import keras

    import keras_muse

    report = keras_muse.training.CodebookReport()
    report.on_epoch_end(0, {"codebook_usage": 0.5, "codebook_perplexity": 99})
    # Epoch 1: 50.0% of the codebook in use, perplexity 99.0
    ```
    """

    def __init__(self, warn_below=0.25):
        super().__init__()
        self.warn_below = check_number(warn_below, "warn_below", 0, 1)
        self._has_warned = False

    def on_train_begin(self, logs=None):
        self._has_warned = False

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        usage = logs.get("codebook_usage")
        perplexity = logs.get("codebook_perplexity")
        if usage is None or perplexity is None:
            self._warn_once(
                "`CodebookReport` has nothing to report: the logs hold no "
                "`codebook_usage` and `codebook_perplexity`. "
                f"Received: logs={sorted(logs)}"
            )
            return
        # The new line ends that of the progress bar.
        print(
            f"\nEpoch {epoch + 1}: {usage:.1%} of the codebook in use, "
            f"perplexity {perplexity:.1f}"
        )
        if usage < self.warn_below:
            self._warn_once(
                f"Only {usage:.1%} of the codebook is in use. A smaller "
                "`codebook_dim`, a smaller learning rate, revived codes or "
                "more varied pictures put more codes to work; if none does, "
                "a smaller codebook will do."
            )

    def _warn_once(self, message):
        if not self._has_warned:
            warnings.warn(message, stacklevel=2)
        self._has_warned = True
