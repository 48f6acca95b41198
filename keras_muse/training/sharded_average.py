"""The average of checkpoints that many devices wrote their parts of."""

import keras
import numpy as np

from keras_muse.training import saved_variables
from keras_muse.training.checkpoint_loading import find_checkpoint
from keras_muse.training.saved_variables import WEIGHTS


def average_directories(paths, output_path, decay):
    """Averages checkpoints of `keras_muse.training.Checkpoint`.

    Args:
        paths: list of directories, the oldest first.
        output_path: string or path. A directory that does not exist yet.
        decay: float in [0, 1).
    """
    output = saved_variables.full_path(output_path)
    if output.exists():
        raise ValueError(
            "`output_path` must not exist yet. Received: "
            f"output_path={str(output_path)!r}"
        )
    directories = [find_checkpoint(path) / WEIGHTS for path in paths]
    shapes = [saved_variables.saved_shapes(d) for d in directories]
    _check_same_weights(paths, shapes)
    # One variable of one checkpoint at a time, beside the average.
    averages = {
        name: _average(directories, name, metadata, decay)
        for name, metadata in shapes[-1].items()
    }
    ocp = saved_variables.orbax()
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
        items = {WEIGHTS: ocp.args.StandardSave(averages)}
        writer.save(output, args=ocp.args.Composite(**items))


def _check_same_weights(paths, shapes):
    first, *others = [
        {name: tuple(metadata.shape) for name, metadata in each.items()}
        for each in shapes
    ]
    for path, other in zip(paths[1:], others, strict=True):
        different = saved_variables.differences(first, other)
        if different:
            raise ValueError(
                "Only checkpoints of one model can be averaged. Received: "
                f"{str(paths[0])!r} and {str(path)!r}, with {len(different)} "
                "differences: " + "; ".join(different[:10])
            )


def check_quantized(name, first, second):
    """Refuses weights of 8 bits that are not the same in two checkpoints.

    They count in steps of their scales, which are averaged: neither the last
    ones nor a mean of all would fit these.

    Args:
        name: string. The weight's, for the message.
        first, second: arrays of one type.
    """
    if first.dtype in ("int8", "uint8") and (first != second).any():
        raise ValueError(
            "Quantized weights cannot be averaged where they differ, as they "
            "do where low-rank additions were merged into them. Received: "
            f"`{name}`, of {first.dtype}"
        )


def _average(directories, name, metadata, decay):
    dtype = np.dtype(metadata.dtype)
    if not keras.backend.is_float_dtype(dtype.name):
        return _last(directories, name, metadata, dtype)
    wide = np.promote_types(dtype, "float32")
    average = None
    for directory in directories:
        value = _read(directory, name, metadata, wide)
        if average is None:
            average = value
        else:
            average = decay * average + (1 - decay) * value
    return average.astype(dtype)


def _last(directories, name, metadata, dtype):
    """Of counters and seeds, and of what is the same in all."""
    value = None
    for directory in directories:
        before = value
        value = _read(directory, name, metadata, dtype)
        if before is not None:
            check_quantized(name, before, value)
    return value


def _read(directory, name, metadata, dtype):
    place = saved_variables.place(metadata.shape, dtype, _sharding(metadata))
    return saved_variables.read(directory, {name: place})[name]


def _sharding(metadata):
    """The layout that it was saved in, if its devices are there."""
    if keras.config.backend() != "jax" or metadata.sharding is None:
        return None
    try:
        return metadata.sharding.to_jax_sharding()
    except ValueError:
        return None
