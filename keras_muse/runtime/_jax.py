"""Compiled functions, arrays and devices on JAX."""

import functools

import jax
import jax.numpy as jnp
import keras
import numpy as np


def compile_function(model, function):
    @functools.wraps(function)  # its name is that of the program
    def stateless(values, *args):
        mapping = list(zip(model.variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return function(*args)

    compiled = jax.jit(stateless)

    def call(*args):
        values = [v.value for v in model.variables]
        distribution = keras.distribution.distribution()
        if distribution is not None:
            _check_devices(model, values, distribution)
            args = distribute_inputs(args)
        return compiled(values, *args)

    return call


def _check_devices(model, values, distribution):
    num_devices = distribution.device_mesh.devices.size
    if values and len(values[0].sharding.device_set) != num_devices:
        raise ValueError(
            "A model must be made after the distribution is set: the weights "
            f"of {model.name!r} are not on the mesh. Received: "
            f"distribution={distribution}"
        )


def distribute_inputs(inputs):
    """Splits examples over the devices of the current distribution.

    Where the devices cannot share them equally, each gets all: the layout of
    an array never changes a result.

    Args:
        inputs: nested structure. Arrays of the host must be whole, and equal
            in all processes. What is spread over devices stays as it is.

    Returns:
        The structure, with arrays of devices in it.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        return inputs

    def split(x):
        shape = np.shape(x)
        if not shape or shape[0] % distribution.num_model_replicas:
            return x
        layout = distribution.get_data_layout(shape)
        if isinstance(x, jax.Array):
            if not x.is_fully_replicated:
                return x
            return keras.distribution.distribute_tensor(x, layout)
        return jax.make_array_from_callback(
            shape, layout.backend_layout, lambda index: x[index]
        )

    return keras.tree.map_structure(split, inputs)


def on_processor():
    return jax.default_backend() == "cpu"


def is_finite(value):
    """Whether all of an array is finite; the same answer in each process."""
    if value.is_fully_addressable:
        return np.isfinite(np.asarray(value)).all()
    return bool(_all_finite(value))


@jax.jit
def _all_finite(value):
    return jnp.isfinite(value).all()
