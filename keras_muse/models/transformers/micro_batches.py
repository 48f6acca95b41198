"""Micro-batches: the parts of a batch that are trained on one by one."""

import importlib

import keras
from keras import ops

from keras_muse.runtime.batches import num_replicas


def train_step(model, *args):
    """A training step that holds the activations of one micro-batch only.

    What is random is drawn for the whole batch before it is cut, and the
    gradients of equal parts are averaged: so the step is that of the whole
    batch, to rounding. Keras' optimizers accumulate gradients too, but over
    whole steps, each of which computes an update that is thrown away.

    Args:
        model: a `MaskedTokenModel`, compiled with
            `gradient_accumulation_steps`.
        *args: as `train_step` of the Keras model of this backend takes them.

    Returns:
        What `train_step` of that model returns.
    """
    backend = keras.config.backend()
    leaf = importlib.import_module(f"keras_muse.models.transformers._{backend}")
    return leaf.accumulated_train_step(model, *args)


def masked_micro_batches(model, data):
    """A batch as a training step gets it, masked and then cut.

    Args:
        model: a `MaskedTokenModel`.
        data: dict of tensors whose first axis is the batch, in the tuples of
            `fit`.

    Returns:
        Dict of tensors of shape `(num_micro_batches, batch /
        num_micro_batches, ...)`.
    """
    inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    inputs = model.mask_inputs(inputs, training=True)
    return cut(inputs, model.gradient_accumulation_steps)


def cut(tensors, num_parts):
    """Cuts the first axis of tensors in equal parts.

    Part `i` has the rows `i`, `i + num_parts`, ...: where neighbouring rows
    lie on one device, each part has rows on every device, and none moves.

    Args:
        tensors: nested structure of tensors of shape `(batch, ...)`.
        num_parts: int that divides their rows, and those on each device.

    Returns:
        The structure, of tensors of shape `(num_parts, batch / num_parts,
        ...)`.

    Raises:
        ValueError: if `num_parts` does not divide the rows.
    """

    def cut_rows(x):
        # Of a text whose length varies, TensorFlow has no number while it
        # traces.
        parts = ops.reshape(x, (-1, num_parts, *ops.shape(x)[1:]))
        return ops.swapaxes(parts, 0, 1)

    num_rows = keras.tree.flatten(tensors)[0].shape[0]
    devices = num_replicas()
    # TensorFlow may not know the rows of a dataset yet: then `reshape` fails.
    if num_rows is not None and num_rows % (num_parts * devices):
        raise ValueError(
            "`gradient_accumulation_steps` must divide the rows of a batch on "
            f"each device. Received: gradient_accumulation_steps={num_parts}, "
            f"a batch of {num_rows} rows on {devices} device(s)"
        )
    return keras.tree.map_structure(cut_rows, tensors)
