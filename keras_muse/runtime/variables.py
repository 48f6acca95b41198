"""The values of variables: left away, moved, freed, kept, finite."""

import contextlib
import importlib

import keras
import numpy as np
from keras.src.backend.common import global_state


@contextlib.contextmanager
def without_values():
    """A scope in which the variables of a new model take no memory."""
    if keras.config.backend() == "torch":
        with keras.device("meta"):  # modules want tensors of their weights
            yield
        return
    name = "uninitialized_variables"
    waiting = list(global_state.get_global_attribute(name) or [])
    with keras.StatelessScope(initialize_variables=False):
        yield
    # Or Keras would give them values at the end of the next such scope.
    global_state.set_global_attribute(name, waiting)


def move(sources, targets):
    """Gives the values of variables to others, without a copy.

    Args:
        sources: list of `keras.Variable`.
        targets: list of as many, of the same shapes, without values.
    """
    for source, target in zip(sources, targets, strict=True):
        target._value = source.value


def free(variables):
    """Lets go of the values of variables; the variables stay.

    Args:
        variables: list of `keras.Variable`.
    """
    for variable in variables:
        if keras.config.backend() == "torch":
            # Modules hold the tensor too, so it is emptied in place.
            variable.value.data = variable.value.data[:0].clone()
        else:
            variable._value = None


@contextlib.contextmanager
def kept(variables, model):
    """A scope whose failure leaves no variable without a value.

    On JAX, Keras takes the values out of the variables while it goes through
    the data, and puts them back at the end. An error in between, or Ctrl-C,
    would leave a model without weights. In the end each has a value of its
    own.

    Args:
        variables: list of `keras.Variable`.
        model: the `keras.Model` that trains, evaluates or predicts.
    """
    values = []
    if keras.config.backend() == "jax":
        values = [(variable, variable._value) for variable in variables]
    try:
        yield
    except BaseException:
        if keras.config.backend() == "jax":
            # After the first step Keras has newer ones. It puts them back by
            # itself after `fit` alone.
            model.jax_state_sync()
            model._jax_state = None
        for variable, value in values:
            if variable._value is None and not value.is_deleted():
                variable._value = value
        raise
    finally:
        if keras.config.backend() == "jax":
            _part(variables)


@contextlib.contextmanager
def unchanged_on_failure(variables):
    """A scope whose failure leaves each variable as it was.

    Args:
        variables: list of `keras.Variable`.
    """
    # JAX's arrays never change; those of the others are assigned in place.
    is_jax = keras.config.backend() == "jax"
    values = [v.value if is_jax else keras.ops.copy(v) for v in variables]
    try:
        yield
    except BaseException:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        raise


def _part(variables):
    """Gives each variable a value of its own.

    At the end of `fit` Keras assigns averaged weights, so that two variables
    have one array, which no next training step can be given twice.
    """
    taken = set()
    for variable in variables:
        if variable._value is None:
            continue
        if id(variable._value) in taken:
            variable._value = keras.ops.copy(variable._value)
        taken.add(id(variable._value))


def check_finite(variables):
    """Refuses to save what is spoilt, over what may be good.

    Args:
        variables: list of `keras.Variable`.

    Raises:
        ValueError: if a value is NaN or infinite; the variables are named.
    """
    spoilt = [
        variable.path
        for variable in variables
        if keras.backend.is_float_dtype(variable.dtype)
        and not is_finite(variable.value)
    ]
    if spoilt:
        raise ValueError(
            "Only finite values are saved; what was saved before is left as "
            f"it is. Received: {len(spoilt)} of {len(variables)} variables "
            f"with NaN or infinite values: {', '.join(spoilt[:5])}"
            + ", ..."
            * (len(spoilt) > 5)
        )


def is_finite(value):
    """Whether all of an array or tensor is finite; alike in all processes."""
    if isinstance(value, np.ndarray):
        return np.isfinite(value).all()
    if keras.config.backend() == "jax":
        leaf = importlib.import_module("keras_muse.runtime._jax")
        return leaf.is_finite(value)
    return np.isfinite(keras.ops.convert_to_numpy(value)).all()
