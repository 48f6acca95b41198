"""The paper's weights: an average over the checkpoints of a training."""

import os

import h5py
import ml_dtypes
import numpy as np

from keras_muse.files.damage import check_numbers
from keras_muse.files.hdf5 import open_hdf5
from keras_muse.files.hdf5 import read_array
from keras_muse.files.space import check_space
from keras_muse.files.whole import write_whole_file
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.checks import check_path
from keras_muse.runtime.checks import show
from keras_muse.training.sharded_average import average_directories
from keras_muse.training.sharded_average import check_quantized


def average_checkpoints(paths, output_path, decay=0.7):
    """Writes the exponential moving average of saved weights.

    Done after the training and at no cost to it. Starting with the first
    file, every later one is mixed in once, in the order given:

        weights = decay * weights + (1 - decay) * checkpoint

    The paper saves every 5000 steps and takes 0.7, which is as long a memory
    as a decay of `0.7 ** (1 / 5000)` = 0.99993 at every step. The decay counts
    files, not steps: with other intervals it means another memory.

    Floating-point weights are averaged, in float32 or better. Counters and
    the states of random generators are the last file's. The optimizer's state
    is left out, so a compiled model warns when it loads the result.

    The checkpoints of a `keras_muse.training.Checkpoint` are averaged where
    they are: every process calls it, and each device keeps its parts of the
    variables. Where the devices are other ones, whole variables come to the
    processor, one after the other.

    Args:
        paths: list of `.weights.h5` files of one model, or of checkpoints of
            a `keras_muse.training.Checkpoint`, the oldest first.
        output_path: string or path, of the same kind. Written when the
            average is complete. A file may be one of `paths`; a directory
            must not exist.
        decay: float in [0, 1). What is kept of the average at each file; zero
            gives the last file. Defaults to `0.7`.

    Returns:
        `output_path`, for `load_weights` or, if it is a directory,
        `keras_muse.training.load_checkpoint`.

    Raises:
        ValueError: if `paths` is empty or no list of either kind, `decay` is
            out of range, a file is damaged or has numbers that are not
            finite, or they hold weights of different names or shapes, or
            quantized ones that differ, which are then named.

    Example:

    ```python
    import keras

    import keras_muse

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    paths = [f"step_{step}.weights.h5" for step in (5000, 10000, 15000)]
    for path in paths:
        model.save_weights(path)  # as a ModelCheckpoint(save_freq=5000) does
    model.load_weights(
        keras_muse.training.average_checkpoints(paths, "average.weights.h5")
    )
    ```

    Reference:
        - [Chang et al., 2023](https://arxiv.org/abs/2301.00704), section 2.3
    """
    paths = _checked_paths(paths, output_path)
    decay = check_number(decay, "decay", 0, 1, open_at="high")
    if _is_file(paths[0]):
        _average_files(paths, output_path, decay)
    else:
        average_directories(paths, output_path, decay)
    return output_path


def _average_files(paths, output_path, decay):
    _check_same_weights(paths)
    with write_whole_file(output_path) as temporary:
        check_space(temporary, os.path.getsize(paths[-1]))
        with h5py.File(temporary, "w") as output:
            with open_hdf5(paths[-1]) as last:
                for name in last:
                    if name != "optimizer":
                        last.copy(name, output)
            # One weight at a time: memory holds one, not the model.
            for name in _weight_shapes(output):
                _write(output[name], _average(paths, name, decay))


def _checked_paths(paths, output_path):
    if not isinstance(paths, list | tuple):
        raise ValueError(
            f"`paths` must be a list of paths. Received: paths={show(paths)}"
        )
    paths = [check_path(path, "paths") for path in paths]
    output_path = check_path(output_path, "output_path")
    if not paths:
        raise ValueError("`paths` must name at least one path. Received: []")
    given = [*paths, output_path]
    if len({_is_file(path) for path in given}) != 1 or any(
        path.endswith((".h5", ".keras")) and not _is_file(path)
        for path in given
    ):
        raise ValueError(
            "`paths` and `output_path` must be `.weights.h5` files, or all "
            f"directories of checkpoints. Received: {given}"
        )
    return paths


def _is_file(path):
    return path.endswith(".weights.h5")


def _weight_shapes(file):
    """Returns `{name: shape}` of everything but the optimizer's state."""
    shapes = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer/"):
            shapes[name] = item.shape

    file.visititems(visit)
    return shapes


def _check_same_weights(paths):
    with open_hdf5(paths[0]) as file:
        expected = _weight_shapes(file)
    for path in paths[1:]:
        with open_hdf5(path) as file:
            shapes = _weight_shapes(file)
        different = [
            f"{name}: {expected.get(name, 'absent')} and "
            f"{shapes.get(name, 'absent')}"
            for name in sorted(expected.keys() | shapes.keys())
            if expected.get(name) != shapes.get(name)
        ]
        if different:
            raise ValueError(
                "Only checkpoints of one model can be averaged. Received: "
                f"{paths[0]!r} and {path!r}, with {len(different)} "
                "differences: " + "; ".join(different[:10])
            )


def _average(paths, name, decay):
    average = None
    for path in paths:
        with open_hdf5(path) as file:
            value = _read(file[name])
        if average is None:
            average = value
        elif _is_float(value):
            wide = np.promote_types(value.dtype, "float32")
            average = decay * average.astype(wide) + (1 - decay) * value
        else:
            check_quantized(name, average, value)
            average = value
    return average


def _is_float(value):
    return value.dtype == ml_dtypes.bfloat16 or value.dtype.kind == "f"


def _read(dataset):
    value = np.asarray(read_array(dataset))
    check_numbers(value, dataset.name)
    return value


def _write(dataset, value):
    if dataset.attrs.get("dtype") == "bfloat16":
        value = value.astype(ml_dtypes.bfloat16).view(dataset.dtype)
    dataset[()] = value
