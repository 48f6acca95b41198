"""Micro-batches of a training step on TensorFlow."""

import tensorflow as tf

from keras_muse.models.transformers import micro_batches


def accumulated_train_step(model, data):
    """`train_step` of a Keras model on TensorFlow; see `micro_batches`."""
    inputs = micro_batches.masked_micro_batches(model, data)
    num_parts = model.gradient_accumulation_steps
    weights = model.trainable_weights

    def add_micro_batch(i, gradients):
        part = {name: x[i] for name, x in inputs.items()}
        with tf.GradientTape() as tape:
            loss = model.compute_loss(part, y_pred=model(part, training=True))
            model.metrics[0].update_state(
                loss, sample_weight=tf.shape(part["mask"])[0]
            )
            loss = model.optimizer.scale_loss(loss)
        more = tape.gradient(loss, weights, unconnected_gradients="zero")
        # Gradients of embeddings are IndexedSlices: made dense, to be added.
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
