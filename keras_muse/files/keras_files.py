"""What Keras writes of a model, whole or not at all.

Keras writes to the place itself: after an error half a file is there, and the
one of before is gone.
"""

import contextlib
import os

from keras_muse.files.space import check_space
from keras_muse.files.space import hdf5_size
from keras_muse.files.whole import write_whole
from keras_muse.files.whole import write_whole_file
from keras_muse.files.whole import write_whole_files
from keras_muse.runtime.variables import check_finite


def save(keras_save, model, filepath, overwrite=True, zipped=None, **kwargs):
    """`keras.Model.save` of finite weights, to be called by a model's own.

    Args:
        keras_save: bound method, Keras' own.
        model: `keras.Model`.
        filepath: as Keras has it, and all that follows.
    """
    write = None
    if zipped is not False and str(filepath).endswith(".keras"):
        write = write_whole_file
    elif zipped is False and not str(filepath).endswith((".keras", ".h5")):
        write = write_whole
    with _place(write, model, filepath, overwrite) as place:
        keras_save(place, overwrite=overwrite, zipped=zipped, **kwargs)


def save_weights(
    keras_save, model, filepath, overwrite=True, max_shard_size=None
):
    """`keras.Model.save_weights` of finite weights, likewise.

    Args:
        keras_save: bound method, Keras' own.
        model: `keras.Model`.
        filepath: as Keras has it, and all that follows.
    """
    write = None
    if max_shard_size is not None:
        if str(filepath).endswith((".weights.h5", ".weights.json")):
            write = write_whole_files
    elif str(filepath).endswith(".weights.h5"):
        write = write_whole_file
    with _place(write, model, filepath, overwrite) as place:
        keras_save(place, overwrite=overwrite, max_shard_size=max_shard_size)


@contextlib.contextmanager
def _place(write, model, filepath, overwrite):
    """Where Keras shall write, once it is known that it can.

    Itself where Keras refuses the name, asks the user whether to overwrite,
    or uploads.
    """
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else ())]
    check_finite(variables)
    num_bytes = hdf5_size([*variables, *model.metrics_variables])
    is_local = isinstance(filepath, str | os.PathLike) and (
        "://" not in str(filepath)
    )
    if not is_local or write is None:
        yield filepath
    elif not overwrite and os.path.exists(filepath):
        check_space(filepath, num_bytes)
        yield filepath
    else:
        with write(filepath) as place:
            check_space(place, num_bytes)
            yield place
