"""One seed an image."""

import keras
import numpy as np
from keras.src.utils import io_utils


def image_seeds(seed, num_images):
    """The seed of each image.

    Args:
        seed: int, list of ints or `None`. An int `s` gives image `i` the seed
            `s + i`; a list gives each image its own; `None` draws one and
            prints it, so that a picture one likes can be made again.
        num_images: int.

    Returns:
        int32 array of shape `(num_images,)`.

    Raises:
        ValueError: if `seed` is not as said, or is `None` where several
            processes draw the same pictures: each would draw another.

    Example:
    ```python
    from keras_muse.samplers.seeds import image_seeds

    image_seeds(7, 3)  # [7, 8, 9]
    ```
    """
    if seed is None:
        distribution = keras.distribution.distribution()
        if distribution is not None and distribution.num_processes > 1:
            raise ValueError(
                "`seed` must be given, and the same, in each of the "
                f"{distribution.num_processes} processes. Received: seed=None"
            )
        seed = int(np.random.default_rng().integers(2**31))
        io_utils.print_msg(f"seed={seed}")
    if isinstance(seed, int | np.integer):
        seeds = int(seed) + np.arange(num_images, dtype="int64")
    else:
        seeds = np.asarray(seed)
        if seeds.shape != (num_images,) or seeds.dtype.kind not in "iu":
            raise ValueError(
                f"`seed` must be an int or a list of {num_images} ints, one "
                f"an image. Received: seed={seed}"
            )
    return (seeds.astype("int64") & 0xFFFFFFFF).astype("uint32").view("int32")
