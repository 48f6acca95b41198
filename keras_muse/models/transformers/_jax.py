"""Micro-batches of a training step on JAX."""

import jax
import keras

from keras_muse.models.transformers import micro_batches


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
