"""The variables of a model, by name, in a directory that Orbax writes.

Every backend reads what any of them wrote. On JAX each device's part of a
variable is written by its own process, and read into any other layout.
"""

import collections
import functools
import importlib
import os
import re

import keras
import numpy as np

from keras_muse.files.damage import check_numbers
from keras_muse.files.damage import reading
from keras_muse.runtime.checks import check_path

WEIGHTS, OPTIMIZER = "weights", "optimizer"  # parts of a checkpoint


@functools.cache
def orbax():
    """`orbax.checkpoint`, imported when needed: it takes a second."""
    if keras.config.backend() != "jax":
        # Orbax is built on JAX, which would take the accelerator's memory.
        _leaf().stay_off_accelerators()
    return importlib.import_module("orbax.checkpoint")


def _leaf():
    return importlib.import_module("keras_muse.training._jax")


def full_path(path):
    """Orbax's form of a path, which may lie in an object store."""
    epath = importlib.import_module("etils.epath")
    path = check_path(path, "path")
    return epath.Path(path if "://" in path else os.path.abspath(path))


def parts_of(model):
    """Names and variables of each part of a training's state.

    Args:
        model: a compiled model that is built, and its optimizer too.

    Returns:
        dict of `{part: {name: variable}}`. Counters and the states of random
        generators are among the weights.
    """
    return {
        WEIGHTS: by_name(model.variables),
        OPTIMIZER: by_name(model.optimizer.variables),
    }


def by_name(variables):
    """Names that do not depend on what was made before in a process.

    Keras numbers what is made again: `adam_1`, `seed_generator_2`. The
    numbers are left out, and variables of one name counted in their order.
    """
    counts = collections.Counter()
    names = {}
    for variable in variables:
        name = re.sub(r"_\d+(?=[_/]|$)", "", variable.path)
        counts[name] += 1
        count = f"#{counts[name]}" if counts[name] > 1 else ""
        names[name + count] = variable
    return names


def values(variables):
    """What Orbax writes of `{name: variable}`, safe from later steps."""
    if keras.config.backend() == "jax":
        # No copy: Orbax keeps a reference, so JAX cannot donate the buffer.
        return {name: v.value for name, v in variables.items()}
    return {
        name: np.array(keras.ops.convert_to_numpy(v))
        for name, v in variables.items()
    }


def saved_shapes(directory):
    """`{name: array metadata}` of what is in the directory of a part."""
    with reading(directory):
        return dict(orbax().PyTreeCheckpointHandler().metadata(directory).tree)


def check(directory, variables, may_have_more=False):
    """Refuses a part that holds other variables than these.

    Args:
        directory: the directory of a part of a checkpoint.
        variables: dict of `{name: variable}`.
        may_have_more: bool. Whether the part may have more, of another
            model: names that begin as none of `variables`.
    """
    with reading(directory):
        saved = {k: tuple(v.shape) for k, v in saved_shapes(directory).items()}
    wanted = {k: tuple(v.shape) for k, v in variables.items()}
    # An optimizer of another name is another optimizer.
    if directory.name == WEIGHTS and (other := _other_name(wanted, saved)):
        raise ValueError(
            "The model must have the name that it was saved under: pass "
            f"name={other!r} to it. Received: {str(directory)!r}, of a model "
            "of another name"
        )
    if may_have_more:
        models = {name.split("/")[0] for name in wanted}
        saved = {k: s for k, s in saved.items() if k.split("/")[0] in models}
    different = differences(wanted, saved)
    if different:
        raise ValueError(
            "The checkpoint must be of the same architecture and optimizer "
            f"as the model. Received: {str(directory)!r}, with "
            f"{len(different)} differences (model and checkpoint): "
            + "; ".join(different[:10])
        )


def _other_name(wanted, saved):
    """The name under which the same model is saved, if it is another one."""
    wanted, saved = _by_model(wanted), _by_model(saved)
    for model in wanted.keys() - saved.keys():
        for other in saved.keys() - wanted.keys():
            if wanted[model] == saved[other]:
                return other
    return None


def _by_model(shapes):
    """`{model: {rest of the name: shape}}`; each name begins with a model's."""
    models = collections.defaultdict(dict)
    for name, shape in shapes.items():
        model, _, rest = name.partition("/")
        models[model][rest] = shape
    return models


def differences(first, second):
    """Where two dicts of `{name: shape}` differ, in words."""
    return [
        f"{name}: {first.get(name, 'absent')} and {second.get(name, 'absent')}"
        for name in [*first, *(second.keys() - first.keys())]
        if first.get(name) != second.get(name)
    ]


def restore(directory, variables):
    """Assigns what `check` found to be there, in the variables' layout."""
    places = {
        name: place(
            variable.shape,
            keras.backend.standardize_dtype(variable.dtype),
            getattr(variable.value, "sharding", None),
        )
        for name, variable in variables.items()
    }
    for name, value in read(directory, places).items():
        variables[name].assign(value)


def place(shape, dtype, sharding=None):
    """What `read` reads an array into: a layout of JAX, or numpy."""
    if sharding is None:
        return np.empty(shape, dtype)
    return _leaf().place(tuple(shape), dtype, sharding)


def read(directory, places):
    """Reads some arrays of a part, which must be of finite numbers.

    Args:
        directory: the directory of a part of a checkpoint.
        places: dict of `{name: place}`.

    Returns:
        dict of `{name: array}`, each in its place.
    """
    ocp = orbax()
    with reading(directory), ocp.PyTreeCheckpointer() as reader:
        arrays = reader.restore(
            directory,
            args=ocp.args.PyTreeRestore(
                item=places,
                restore_args=ocp.checkpoint_utils.construct_restore_args(
                    places
                ),
                partial_restore=True,
            ),
        )
        for name, array in arrays.items():
            for part in _local_parts(array):
                check_numbers(part, name)
        return arrays


def _local_parts(array):
    if isinstance(array, np.ndarray):
        return [array]
    return _leaf().local_parts(array)
