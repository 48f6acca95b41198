"""Augmentation of raw pictures; the only file that uses KerasCV.

Checked with keras-cv 0.9 under Keras 3.15: its crops and flips work with
the JAX and Torch backends too, but compute in TensorFlow, so this module
alone needs TensorFlow installed. `RandomCropAndResize` is not used: outside
of tf.data it traces itself anew for every batch, which costs about 0.25 s.
`RandomCrop` interpolates: its crops are about one pixel narrower than asked
for and scaled back.
"""

import numpy as np
from keras import ops

from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_number

AUGMENT_DEFAULTS = {"enlarge": 1.25, "flip": True}


def augment_options(augment, image_size):
    """Checks `augment`, a bool or a dict, and fills in what it leaves out."""
    if not isinstance(augment, dict) and not check_bool(augment, "augment"):
        return None
    options = augment if isinstance(augment, dict) else {}
    unknown = set(options) - set(AUGMENT_DEFAULTS)
    if unknown:
        raise ValueError(
            f"`augment` may hold {sorted(AUGMENT_DEFAULTS)}. "
            f"Received: augment={augment!r}"
        )
    if image_size is None:
        raise ValueError(
            "`augment` needs `image_size`. Received: image_size=None"
        )
    options = {**AUGMENT_DEFAULTS, **options}
    enlarge, flip = "augment['enlarge']", "augment['flip']"
    return {
        "enlarge": check_number(options["enlarge"], enlarge, low=1),
        "flip": check_bool(options["flip"], flip),
    }


def enlarged_size(image_size, seed, enlarge):
    """Draws the size from which crops of `image_size` are taken.

    Together with `random_crop_and_flip` this is the random resized crop: one
    scale a batch, one position a picture.

    Args:
        image_size: pair of ints `(height, width)` of the crop.
        seed: int.
        enlarge: float, at least 1. The largest scale.

    Returns:
        Pair of ints, between `image_size` and `enlarge * image_size`.
    """
    scale = np.random.default_rng(seed).uniform(1.0, enlarge)
    return tuple(round(scale * side) for side in image_size)


def random_crop_and_flip(images, image_size, seed, flip=True):
    """Cuts one random crop out of each picture, and mirrors half of them.

    Args:
        images: uint8 array `(batch, height, width, 3)`.
        image_size: pair of ints `(height, width)` of the crop.
        seed: int. The same seed gives the same crops.
        flip: bool. Whether to mirror. Turn it off where left and right, or
            letters, matter to the captions.

    Returns:
        uint8 array `(batch, *image_size, 3)`.
    """
    try:
        import keras_cv
    except ImportError as error:
        raise ImportError(
            "`augment` uses keras_cv, which needs tensorflow; install both "
            "or pass `augment=False`."
        ) from error
    # New layers each time, so that a batch depends on its own seed alone and
    # not on how many batches other workers drew before it.
    layers = [keras_cv.layers.RandomCrop(*image_size, seed=seed)]
    if flip:
        layers.append(keras_cv.layers.RandomFlip("horizontal", seed=seed + 1))
    images = images.astype("float32")
    for layer in layers:
        images = layer(images, training=True)
    return ops.convert_to_numpy(images).round().astype("uint8")
