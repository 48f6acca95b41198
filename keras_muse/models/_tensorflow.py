"""Compiled functions on TensorFlow."""

import numpy as np
import tensorflow as tf

from keras_muse.models import micro_batches


def compile_function(model, function):
    compiled, variables = None, []

    def call(*args):
        nonlocal compiled, variables
        # LoRA and quantization give a model other variables; a trace would go
        # on with those that it has seen.
        if list(map(id, model.variables)) != list(map(id, variables)):
            compiled, variables = tf.function(function), model.variables
        # A numpy array would be a new constant, and a new trace, each time.
        args = tf.nest.map_structure(_to_tensor, list(args))
        return compiled(*args)

    return call


def _to_tensor(value):
    if isinstance(value, np.ndarray | np.generic | int | float):
        return tf.convert_to_tensor(value)
    return value


def accumulated_train_step(model, data):
    """`train_step` of a Keras model on TensorFlow; see `micro_batches`."""
    inputs = micro_batches.masked_micro_batches(model, data)
    num_parts = model.gradient_accumulation_steps
    weights = model.trainable_weights

    def add_micro_batch(i, gradients):
        part = {name: x[i] for name, x in inputs.items()}
        with tf.GradientTape() as tape:
            loss = model.compute_loss(y_pred=model(part, training=True))
            model._loss_tracker.update_state(
                loss, sample_weight=tf.shape(part["mask"])[0]
            )
            loss = model.optimizer.scale_loss(loss)
        more = tape.gradient(loss, weights, unconnected_gradients="zero")
        # Those of embeddings are rows: made dense.
        more = [tf.convert_to_tensor(gradient) for gradient in more]
        return i + 1, [a + b for a, b in zip(gradients, more, strict=True)]

    _, gradients = tf.while_loop(
        lambda i, gradients: i < num_parts,
        add_micro_batch,
        (0, [tf.zeros_like(v.value) for v in weights]),
        parallel_iterations=1,
    )
    gradients = [gradient / num_parts for gradient in gradients]
    model.optimizer.apply(gradients, weights)
    return model.compute_metrics(None, None, None)
