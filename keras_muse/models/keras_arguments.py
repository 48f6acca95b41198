"""The arguments of `compile`, `fit` and `evaluate`, as our losses take them."""

import copy
import dataclasses
import inspect
import itertools
import types
from collections.abc import Callable

import keras

from keras_muse.callbacks.nan_guard import NaNGuard
from keras_muse.runtime.batches import is_loader
from keras_muse.runtime.batches import without_none
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_ints
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.inputs import as_native

# What Keras offers for losses between an output and a target. The losses here
# know no target and no weights of rows.
TARGETS = ("y", "sample_weight", "class_weight")
TARGET_LOSSES = ("loss", "loss_weights", "metrics", "weighted_metrics")
# The least that is valid. Keras takes 0 rows for the default number.
COUNTS = {
    "batch_size": 1,
    "validation_batch_size": 1,
    "epochs": 0,
    "initial_epoch": 0,
    "steps_per_epoch": 1,
    "validation_steps": 1,
    "steps": 1,
}


def by_name(method, args, kwargs):
    """The arguments of a call of `method`, all by their names.

    Numbers of rows, steps and epochs are checked.
    """
    arguments = inspect.signature(method).bind(None, *args, **kwargs).arguments
    arguments.pop("self")
    options = {**arguments.pop("kwargs", {}), **arguments}
    for name, low in COUNTS.items():
        if options.get(name) is not None:
            options[name] = check_int(options[name], name, low)
    name = "validation_freq"
    if isinstance(options.get(name), list):
        options[name] = list(check_ints(options[name], name))
    elif name in options:
        options[name] = check_int(options[name], name)
    name = "validation_split"
    if options.get(name) is not None:
        options[name] = check_number(options[name], name, 0, 1, open_at="high")
    return options


def looked_at(x, argument):
    """Data as Keras takes them, and what of them can be checked.

    Keras wants tuples of a generator and of a loader of Torch; batches alone
    become such. The first one of a generator is looked at, and put back. What
    is `None` in a dict is left out.

    Args:
        x: what somebody gave to `fit`, `evaluate` or `predict`.
        argument: string. What it is called there.

    Returns:
        `(x, inputs)`: the data, and what is to be checked.
    """
    x = as_native(x)
    if isinstance(x, keras.utils.PyDataset) and x.num_batches == 0:
        raise ValueError(
            f"`{argument}` must not be empty. Received: a "
            f"{type(x).__name__} without a batch"
        )
    if is_loader(x):
        x = _in_tuples(x)
    if not isinstance(x, types.GeneratorType):
        return without_none(x), x
    batches = (b if isinstance(b, tuple) else (as_native(b),) for b in x)
    first = next(batches, None)
    if first is None:
        raise ValueError(
            f"`{argument}` must not be empty. Received: a generator without a "
            "batch"
        )
    return _chain(first, batches), first[0]


def _chain(first, others):
    for inputs, *targets in itertools.chain([first], others):
        yield without_none(inputs), *targets


def _in_tuples(loader):
    """A loader of the same batches as tuples; Keras takes the keys of dicts."""
    loader = copy.copy(loader)
    loader.collate_fn = _InTuples(loader.collate_fn)
    loader._iterator = None  # workers that persist have the other function
    return loader


@dataclasses.dataclass
class _InTuples:
    """Makes batches as `collate_fn` does; a class, which workers can get."""

    collate_fn: Callable

    def __call__(self, rows):
        batch = self.collate_fn(rows)
        return batch if isinstance(batch, tuple | list) else (batch,)


def check_no_target_losses(model, options):
    """Refuses what Keras' own `compile` makes of targets.

    Args:
        model: `MuseModel`.
        options: dict. Arguments of `compile`.
    """
    for name in TARGET_LOSSES:
        if options.get(name) is not None:
            raise ValueError(
                f"{type(model).__name__} has losses and metrics of its own, "
                f"without targets: `compile` takes no {name}. "
                f"Received: {name}={options[name]!r}"
            )


def check_no_targets(model, options):
    """Refuses targets and weights of rows.

    Args:
        model: `MuseModel`.
        options: dict. Arguments of `fit` or `evaluate`.
    """
    inputs = model.batch_inputs(training=True)
    data = f"a dict of {sorted(inputs)}" if inputs else "inputs"
    for name in TARGETS:
        if options.get(name) is not None:
            raise ValueError(
                f"{type(model).__name__} is trained without targets: its data "
                f"are {data} alone, without `{name}`. Received: a `{name}` of "
                f"type {type(options[name]).__name__}"
            )


def validation_parts(data):
    """Inputs, targets and weights of what is given to validate with.

    Keras takes a list for these three, though `x` may be a list of rows.
    """
    if isinstance(data, list) and len(data) > 3:
        return as_native(data), None, None
    return keras.utils.unpack_x_y_sample_weight(data)


def is_stream(x):
    """Whether `x` is a `keras_muse.data` stream, known by what it has."""
    return hasattr(x, "step") and hasattr(x, "in_training")


def check_not_shared(x):
    """Refuses a stream of parts of batches where all rows are wanted."""
    if getattr(x, "is_shared", False):
        raise ValueError(
            "`predict` takes all rows in each process: read token shards for "
            "it with `process_index=0` and `process_count=1`. Received: a "
            f"{type(x).__name__} that gives each process its part"
        )


def known_callbacks(callbacks, larger_is_better):
    """Callbacks behind a `NaNGuard`, told which way what they monitor goes.

    The guard is the first: it ends the training before another one saves.

    Args:
        callbacks: as in `fit`.
        larger_is_better: names of metrics.

    Returns:
        A list.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    callbacks = keras.tree.flatten(callbacks or [])
    guards = [c for c in callbacks if isinstance(c, NaNGuard)]
    others = [c for c in callbacks if not isinstance(c, NaNGuard)]
    for callback in others:
        _set_mode(callback, larger_is_better)
    return [*(guards or [NaNGuard()]), *others]


def check_no_backup(callbacks):
    """Refuses Keras' backup of a model with LoRA, which it cannot restore.

    Args:
        callbacks: list.
    """
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise ValueError(
                "`callbacks` must not have a `BackupAndRestore` where a model "
                "has LoRA, whose additions it would lose: take "
                "`keras_muse.training.Checkpoint`. Received: "
                f"callbacks with {type(callback).__name__}"
            )


def check_one_learning_rate(callbacks, optimizer):
    """Refuses callbacks that set one, where several optimizers are scaled.

    Keras finds several only where they are not wrapped, as they are in
    `mixed_float16`, and fails in the first epoch.

    Args:
        callbacks: list.
        optimizer: Keras optimizer or `None`.
    """
    inner = getattr(optimizer, "inner_optimizer", None)
    if not isinstance(inner, keras.optimizers.MultiOptimizer):
        return
    for callback in callbacks:
        if isinstance(
            callback,
            keras.callbacks.LearningRateScheduler
            | keras.callbacks.ReduceLROnPlateau,
        ):
            raise ValueError(
                "`callbacks` must not set a learning rate in 'mixed_float16' "
                "where a discriminator has an optimizer of its own: give both "
                "a schedule, or train in 'mixed_bfloat16'. Received: "
                f"callbacks with {type(callback).__name__}"
            )


def _set_mode(callback, larger_is_better):
    """Tells a callback whether what it monitors is to rise or to fall.

    By itself Keras knows it of its own metrics only, and fails after an epoch.
    """
    if getattr(callback, "mode", None) == "auto":
        name = callback.monitor.removeprefix("val_")
        if name in larger_is_better:
            callback.mode = "max"
        elif name.endswith("loss"):
            callback.mode = "min"
