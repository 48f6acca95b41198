"""Compiled functions on JAX."""

import functools

import jax
import keras
import numpy as np

from keras_muse.models import micro_batches


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


def accumulated_train_step(model, state, data):
    """`train_step` of a Keras model on JAX; see `micro_batches`."""
    trainable, non_trainable, optimizer_variables, metrics = state
    mapping = zip(model.non_trainable_variables, non_trainable, strict=True)
    with keras.StatelessScope(state_mapping=list(mapping)) as scope:
        inputs = micro_batches.masked_micro_batches(model, data)
    non_trainable = [
        scope.get_current_value(v) for v in model.non_trainable_variables
    ]
    loss_and_gradients = jax.value_and_grad(
        model.compute_loss_and_updates, has_aux=True
    )

    def add_micro_batch(sums, inputs):
        gradients, loss, non_trainable, metrics = sums
        (_, (more_loss, _, non_trainable, metrics)), more = loss_and_gradients(
            trainable,
            non_trainable,
            metrics,
            inputs,
            None,
            None,
            training=True,
            optimizer_variables=optimizer_variables,
        )
        gradients = jax.tree.map(jax.numpy.add, gradients, more)
        return (gradients, loss + more_loss, non_trainable, metrics), None

    zeros = jax.tree.map(jax.numpy.zeros_like, trainable)
    start = (zeros, jax.numpy.zeros(()), non_trainable, metrics)
    sums, _ = jax.lax.scan(add_micro_batch, start, inputs)
    gradients, loss, non_trainable, metrics = sums
    num_parts = model.gradient_accumulation_steps
    trainable, optimizer_variables = model.optimizer.stateless_apply(
        optimizer_variables,
        [gradient / num_parts for gradient in gradients],
        trainable,
    )
    whole_batch, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    logs, metrics = model._update_metrics_variables(
        metrics, loss / num_parts, whole_batch, None, None, None
    )
    return logs, (trainable, non_trainable, optimizer_variables, metrics)
