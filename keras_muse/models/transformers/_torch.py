"""Micro-batches of a training step on Torch."""

import torch

from keras_muse.models.transformers import micro_batches


def accumulated_train_step(model, data):
    """`train_step` of a Keras model on Torch; see `micro_batches`."""
    inputs = micro_batches.masked_micro_batches(model, data)
    num_parts = model.gradient_accumulation_steps
    model.zero_grad()
    for i in range(num_parts):
        part = {name: x[i] for name, x in inputs.items()}
        loss = model.compute_loss(part, y_pred=model(part, training=True))
        model.metrics[0].update_state(loss, sample_weight=len(part["mask"]))
        # Frees the activations of this part, and adds to its gradients.
        (model.optimizer.scale_loss(loss) / num_parts).backward()
    weights = model.trainable_weights[:]
    with torch.no_grad():
        model.optimizer.apply([v.value.grad for v in weights], weights)
    return model.compute_metrics(None, None, None)
