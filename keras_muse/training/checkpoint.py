"""Saves a training now and then, and goes on after a kill."""

import contextlib
import json
import warnings

import keras

from keras_muse.files.damage import reading
from keras_muse.files.json_files import check_entries
from keras_muse.runtime.checks import check_built
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_path
from keras_muse.runtime.variables import check_finite
from keras_muse.training import saved_variables

POSITION = "position"


class Checkpoint(keras.callbacks.Callback):
    """Saves a training with Orbax, and goes on where it was stopped.

    The same program, started again after a kill, goes on from the newest
    whole checkpoint: with its weights, the optimizer, the seeds, the epoch
    and the position in the data. `epochs` of `fit` therefore means all epochs;
    a training that is finished does nothing. On JAX it ends with the same
    bits as one that was never stopped.

    Saving goes on in the background. A checkpoint is a directory that appears
    when it is whole, named by the number of steps; each process writes the
    parts that its devices hold. It can be resumed on other devices and
    another layout, and by another backend, by a model of the same name. More
    than one process needs JAX, and a directory that all of them reach.

    Where `dataset` is given, a training goes on with the very next batch, and
    the epoch ends where it would have ended; its metrics are those of the
    rest. Without it, or with data in an order of its own, an epoch that was
    stopped is begun anew.

    It should be the last in the list of callbacks, so that what the others do
    at the end of an epoch is saved too. Their own state is not saved.

    Args:
        directory: string or path. Where the checkpoints of this one training
            are; `gs://` and the like work, too.
        dataset: the data set given to `fit`, as `read_token_shards` or
            `load_image_text` gives it (for `fit(pairs.images)`, `pairs`).
        save_freq: `"epoch"`, or int: steps between two checkpoints. The last
            state of a training is always saved. Defaults to `"epoch"`.
        max_to_keep: int or `None` for all. The newest checkpoints are kept.
            Defaults to `3`.

    Raises:
        ValueError: before the first step, and with the model as it was, if
            the newest checkpoint is of another architecture, optimizer or
            data set; if an argument is out of range; or if `save_freq` counts
            steps and the length of an epoch is unknown. During the training,
            if a variable is to be saved that is not finite: the checkpoints
            that are there are kept.

    Example:

    ```python
    import tempfile

    import keras
    import numpy as np

    import keras_muse

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    x, y = np.zeros((8, 2)), np.zeros((8, 1))
    directory = tempfile.mkdtemp()
    for epochs in (2, 3):  # the second time it trains one epoch
        checkpoint = keras_muse.training.Checkpoint(directory)
        model.fit(x, y, epochs=epochs, callbacks=[checkpoint], verbose=0)
    ```
    """

    def __init__(self, directory, dataset=None, save_freq="epoch",
                 max_to_keep=3):  # fmt: skip
        super().__init__()
        if save_freq != "epoch":
            save_freq = check_int(save_freq, "save_freq")
        if max_to_keep is not None:
            max_to_keep = check_int(max_to_keep, "max_to_keep")
        if dataset is not None and not hasattr(dataset, "resume"):
            raise ValueError(
                "`dataset` must be of `read_token_shards`, `load_image_text` "
                f"or `load_emoji`. Received: dataset={dataset!r}"
            )
        self.directory = saved_variables.full_path(
            check_path(directory, "directory")
        )
        self.dataset = dataset
        self.save_freq = save_freq
        self.max_to_keep = max_to_keep
        self._manager = None
        self._quiet = contextlib.ExitStack()

    # === Going on ===

    def on_train_begin(self, logs=None):
        self.close()  # a training that was interrupted left it open
        self._check_epoch_length()
        check_built(self.model)
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self._step = 0 if self.dataset is None else self.dataset.step
        with reading(self.directory):
            self._manager = _open_manager(self.directory, self.max_to_keep)
        if self._manager.latest_step() is not None:
            self._restore(self._manager.latest_step())
        self._saved_step = self._step

    def _check_epoch_length(self):
        steps = self.params["steps"]
        if self.dataset is not None and steps != self.dataset.steps_per_epoch:
            raise ValueError(
                "`dataset` must be the one given to `fit`, and say how long an "
                f"epoch is. Received: epochs of {steps} steps, and a dataset "
                f"of {self.dataset.steps_per_epoch}"
            )
        if self.save_freq != "epoch" and steps is None:
            raise ValueError(
                "`save_freq` in steps needs epochs of a known length: pass "
                "`steps_per_epoch` to `fit`. Received: "
                f"save_freq={self.save_freq}"
            )

    def _restore(self, step):
        directory = self.directory / str(step)
        position = self._read_position(directory)
        parts = saved_variables.parts_of(self.model)
        for part, variables in parts.items():
            saved_variables.check(directory / part, variables)
        for part, variables in parts.items():
            saved_variables.restore(directory / part, variables)
        self._step = step
        # Another callback may have ended the training before its first epoch.
        ended = self.model._initial_epoch or 0
        self.model._initial_epoch = max(position["epoch"], ended)
        if self.dataset is not None:
            self.dataset.resume(step, position["rest_of_epoch"])

    def _read_position(self, directory):
        ocp = saved_variables.orbax()
        place = directory / POSITION
        with reading(place):
            with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
                position = reader.restore(place)
        nothing = type(None)
        check_entries(
            position,
            place,
            dataset=(dict, nothing),
            epoch=int,
            rest_of_epoch=(int, nothing),
        )
        if position["dataset"] != self._identity():
            raise ValueError(
                "A training must go on with the data that it was begun with. "
                f"Received: {str(directory)!r}, begun with "
                f"{position['dataset']}, and dataset={self._identity()}"
            )
        return position

    def _identity(self):
        if self.dataset is None:
            return None
        return json.loads(json.dumps(self.dataset.identity))

    # === Counting ===

    def on_epoch_begin(self, epoch, logs=None):
        self.model._initial_epoch = None  # of this `fit`, not of the next
        self._epoch, self._num_done = epoch, 0
        self._epoch_length = self.params["steps"]
        if self.dataset is not None:
            self._step = self.dataset.step
            self._epoch_length = len(self.dataset)
            if self._epoch_length != self.dataset.steps_per_epoch:
                self._quiet.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", "Your input ran out of data")

    def on_train_batch_begin(self, batch, logs=None):
        if self.dataset is not None and self._num_done == self._epoch_length:
            # Keras still expects a whole epoch. It is stopped here, before an
            # empty step of TensorFlow would advance the seeds.
            raise StopIteration

    def on_train_batch_end(self, batch, logs=None):
        # With `steps_per_execution`, `batch` may lie past the end.
        num_done = min(batch + 1, self._epoch_length or batch + 1)
        self._step += num_done - self._num_done
        self._num_done = num_done
        # At the end of an epoch there is more to come: `on_epoch_end`.
        if num_done != self._epoch_length and self._is_due():
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        self._quiet.close()
        is_last = self.model.stop_training or epoch + 1 == self.params["epochs"]
        if self.save_freq == "epoch" or self._is_due() or is_last:
            self._save()

    def on_train_end(self, logs=None):
        self.model._initial_epoch = None
        if self._step != self._saved_step:  # a later callback ended it
            self._save()
        self.close()

    def _is_due(self):
        if self.save_freq == "epoch":
            return False
        freq = self.save_freq
        return self._step // freq > self._saved_step // freq

    # === Saving ===

    def _save(self):
        ocp = saved_variables.orbax()
        parts = saved_variables.parts_of(self.model)
        for variables in parts.values():
            check_finite(list(variables.values()))
        items = {
            part: ocp.args.StandardSave(saved_variables.values(variables))
            for part, variables in parts.items()
        }
        items[POSITION] = ocp.args.JsonSave(self._position())
        self._manager.save(self._step, args=ocp.args.Composite(**items))
        self._saved_step = self._step

    def _position(self):
        rest = (self._epoch_length or 0) - self._num_done
        return {
            "epoch": self._epoch + (rest <= 0),
            "rest_of_epoch": max(rest, 0) or None,
            "dataset": self._identity(),
        }

    def close(self):
        """Waits for what is being saved; its errors are raised here."""
        self._quiet.close()
        if self._manager is not None:
            manager, self._manager = self._manager, None
            manager.wait_until_finished()
            manager.close()


def _open_manager(directory, max_to_keep):
    ocp = saved_variables.orbax()
    return ocp.CheckpointManager(
        directory,
        options=ocp.CheckpointManagerOptions(
            max_to_keep=max_to_keep, cleanup_tmp_directories=True
        ),
    )
