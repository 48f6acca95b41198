"""Training by the clock, which goes on after a kill."""

import math
import os
import sys
import time

import keras

from keras_muse.files import keras_files
from keras_muse.files.damage import reading
from keras_muse.files.hdf5 import check_weights
from keras_muse.files.json_files import read_object
from keras_muse.files.whole import write_json
from keras_muse.models.presets import lora
from keras_muse.models.presets.loading import largest_variable
from keras_muse.runtime.checks import check_built
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.checks import check_path
from keras_muse.runtime.variables import check_finite
from keras_muse.runtime.variables import unchanged_on_failure


class TimeBudget(keras.callbacks.Callback):
    """Trains for so many seconds, however fast the machine is.

    The learning rate follows the clock: a short warm-up, then a quarter of a
    cosine down to zero at the end of the budget. A progress bar estimates how
    many steps that makes, so `fit` is best called with `verbose=0`; into a
    file it is written once a minute. Weights, optimizer and the time spent are
    saved now and then, and found again by a training that is started anew: it
    goes on with the time that is left. Of a model with LoRA the additions are
    saved, and their optimizer starts afresh.

    Args:
        seconds: float. Time to train, compilation included. With `0` what
            was saved is only loaded.
        directory: string or path. Where the state is saved.
        learning_rate: float. The highest learning rate, of a tokenizer and
            its critic alike.
        save_every: float. Seconds between two saves. Defaults to `60`.

    Raises:
        ValueError: during `fit`, if the optimizer has a schedule of its own,
            what was saved is damaged, or a variable is not finite; what was
            saved is kept.

    Example:
    ```python
    import keras
    import numpy as np
    import tempfile
    import keras_muse

    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    budget = keras_muse.training.TimeBudget(1, tempfile.mkdtemp(), 1e-3)
    data = np.zeros((8, 2)), np.zeros((8, 1))
    model.fit(*data, epochs=10**6, callbacks=[budget], verbose=0)
    ```
    """

    WARM_UP = 0.03

    def __init__(self, seconds, directory, learning_rate, save_every=60.0):
        super().__init__()
        self.seconds = check_number(seconds, "seconds", 0)
        # A program may go elsewhere while it trains.
        self.directory = os.path.abspath(check_path(directory, "directory"))
        self.learning_rate = check_number(learning_rate, "learning_rate", 0)
        self.save_every = check_number(save_every, "save_every", 0)
        self._bar = None
        self.spent = 0.0
        self._weights_path = os.path.join(self.directory, "state.weights.h5")
        self._lora_path = os.path.join(self.directory, f"state{lora.SUFFIX}")
        self._clock_path = os.path.join(self.directory, "clock.json")

    @property
    def finished(self):
        """bool. Whether the budget was spent, in this process or before."""
        return max(self.spent, self._saved_spent()) >= self.seconds

    def _saved_spent(self):
        """Seconds that the last saved state had taken."""
        if not os.path.exists(self._clock_path):
            return 0.0
        clock = read_object(self._clock_path, spent=(float, int))
        with reading(self._clock_path):
            return check_number(clock["spent"], "spent", low=0)

    def restore(self, model):
        """Loads the last saved state into a compiled model, if there is one.

        Args:
            model: a `keras.Model` that is built and compiled.

        Returns:
            bool. Whether the budget is spent.

        Raises:
            ValueError: if the state is damaged, or of another model, or this
                one is not built or compiled; the model is left as it was.
        """
        self.spent = self._saved_spent()
        if not os.path.exists(self._clock_path):
            return self.finished
        check_built(model)
        self._check_lora(model)
        if lora.has_lora(model):
            lora.load_lora_weights(model, self._lora_path)
        else:
            self._load(model)
        return self.finished

    def _check_lora(self, model):
        """Refuses a state with LoRA for a model without it, and vice versa."""
        has_lora = lora.has_lora(model)
        paths = {True: self._lora_path, False: self._weights_path}
        if not os.path.exists(paths[has_lora]) and os.path.exists(
            paths[not has_lora]
        ):
            words = {True: "with", False: "without"}
            raise ValueError(
                "A training must go on with the model that it was begun with. "
                f"Received: {self.directory!r}, begun {words[not has_lora]} "
                f"LoRA, and a model {words[has_lora]} it"
            )

    def _load(self, model):
        if not model.compiled:
            raise ValueError(
                "`model` must be compiled. Received: "
                f"model={model.name!r}, without an optimizer"
            )
        model.optimizer.build(model.trainable_variables)
        check_weights(self._weights_path, largest_variable(model))
        # Keras loads one layer after the other, up to the first that differs.
        variables = [*model.variables, *model.optimizer.variables]
        with (
            reading(self._weights_path, "cannot be loaded"),
            unchanged_on_failure(variables),
        ):
            model.load_weights(self._weights_path)

    def on_train_begin(self, logs=None):
        self._has_trained = False
        self._check_rates()
        if self.restore(self.model):
            # Not one step more: by it the codes of a tokenizer would move.
            self.model._initial_epoch = self.params["epochs"]
        os.makedirs(self.directory, exist_ok=True)
        self._bar = keras.utils.Progbar(None, interval=_seconds_of_a_bar())
        self._num_steps, self._spent_before = 0, self.spent
        self._last = self._last_save = time.monotonic()

    def on_train_batch_begin(self, batch, logs=None):
        for part in self._optimizers():
            part.learning_rate = self._rate_now()

    def on_train_batch_end(self, batch, logs=None):
        self._has_trained = True
        now = time.monotonic()
        self.spent += now - self._last
        self._last = now
        if self.spent >= self.seconds:
            self.model.stop_training = True
        if now - self._last_save > self.save_every:
            self._save()
            self._last_save = now
        self._show(logs or {})

    def on_train_end(self, logs=None):
        self.model._initial_epoch = None
        if self._has_trained:
            self._save()

    def _optimizers(self):
        """The one of a model, or those that it is made of."""
        optimizer = self.model.optimizer
        # That of mixed_float16, which scales the loss, is around another one.
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        return getattr(optimizer, "optimizers", [optimizer])

    def _check_rates(self):
        for part in self._optimizers():
            # Of a schedule, and of a function, it is what they give now.
            if not isinstance(part.learning_rate, keras.Variable):
                raise ValueError(
                    "`TimeBudget` sets the learning rate by the clock: leave "
                    "`total_steps` away, and give the optimizer a number. "
                    f"Received: {type(part).__name__} with a schedule or a "
                    "function"
                )

    def _show(self, logs):
        self._num_steps += 1
        budget = self.seconds - self._spent_before
        if spent := self.spent - self._spent_before:
            # At the pace so far; the last step may end late.
            parts = max(budget / spent, 1)
            self._bar.target = math.ceil(self._num_steps * parts)
        self._bar.stateful_metrics = set(logs)
        self._bar.update(self._num_steps, list(logs.items()), finalize=False)

    def _rate_now(self):
        progress = min(self.spent / max(self.seconds, 1e-9), 1.0)
        warm_up = min(1.0, (progress + 1e-3) / self.WARM_UP)
        return self.learning_rate * warm_up * math.cos(progress * math.pi / 2)

    def _save(self):
        if lora.has_lora(self.model):
            # Keras merges the matrices as it saves weights, and loads zeros.
            check_finite(self.model.trainable_variables)
            lora.save_lora_weights(self.model, self._lora_path)
        else:
            keras_files.save_weights(
                self.model.save_weights, self.model, self._weights_path
            )
        write_json(self._clock_path, {"spent": self.spent})


def _seconds_of_a_bar():
    """How long a progress bar stands before it is drawn anew."""
    # Each is a line of a file, and the same line of a terminal or notebook.
    is_watched = sys.stdout.isatty() or "ipykernel" in sys.modules
    return 0.05 if is_watched else 60
