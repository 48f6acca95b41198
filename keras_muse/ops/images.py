"""Pixels: uint8 [0, 255] on people's side, float [-1, 1] inside models."""

import keras
import numpy as np
from keras import ops

MAX_FLOAT = 8.0  # beyond, it is another range


def is_pixels(images):
    """Whether `images` are integers, people's pixels in [0, 255]."""
    return not keras.backend.is_float_dtype(
        keras.backend.standardize_dtype(images.dtype)
    )


def check_in_model_range(images):
    """Checks that images are floats of shape `(batch, height, width, 3)`.

    Args:
        images: tensor or array.

    Raises:
        ValueError: if they are not.
    """
    if is_pixels(images):
        raise ValueError(
            "Images must be floats in [-1, 1]. "
            f"Received: images.dtype={images.dtype}"
        )
    if len(images.shape) != 4 or images.shape[-1] != 3:
        raise ValueError(
            "Images must be of shape (batch, height, width, 3). "
            f"Received: images.shape={tuple(images.shape)}"
        )


def check_range(images, argument="images"):
    """Raises unless floats are in [-1, 1], and integers in [0, 255].

    A decoder overshoots a little, and is let through; pixels in [0, 255] that
    were cast to float are not: they would count as enormous contrasts. What is
    no number is not its affair.

    Args:
        images: array or tensor that holds values.
        argument: string. What the caller calls it. Defaults to `"images"`.

    Raises:
        ValueError: if they are not.
    """
    values = ops.convert_to_numpy(images)
    low, high = (0, 255) if is_pixels(images) else (-MAX_FLOAT, MAX_FLOAT)
    is_bool = values.dtype == "bool"  # whose white would be 1 of 255
    if values.size and (is_bool or values.min() < low or values.max() > high):
        raise ValueError(
            f"`{argument}` must be floats in [-1, 1] or integers in [0, 255]. "
            f"Received: {values.dtype} from {values.min()} to {values.max()}"
        )


def to_model_range(images, dtype="float32"):
    """Brings uint8 pixels to [-1, 1]; leaves floats as they are.

    Args:
        images: uint8 tensor in [0, 255] or float tensor in [-1, 1].
        dtype: string. The dtype of the result. Defaults to `"float32"`.

    Returns:
        Float tensor of the same shape in [-1, 1].
    """
    if is_pixels(images):
        images = ops.cast(images, "float32") / 127.5 - 1.0
    return ops.cast(images, dtype)


def to_pixels(images):
    """Brings floats in [-1, 1] to uint8 pixels; values outside are clipped.

    Args:
        images: float tensor or array of any shape.

    Returns:
        uint8 numpy array of the same shape.
    """
    images = ops.convert_to_numpy(ops.cast(images, "float32"))
    pixels = np.round((images + 1.0) * 127.5)
    return np.clip(pixels, 0, 255).astype("uint8")
