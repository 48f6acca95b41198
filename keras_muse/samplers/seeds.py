"""One seed per image."""

import keras
import numpy as np

from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import show
from keras_muse.runtime.messages import say

NUM_SEEDS = 2**32


def image_seeds(seed, num_images):
    """The seed of each image.

    Args:
        seed: int, list of ints or `None`. An int `s` gives image `i` the seed
            `s + i`; a list gives each image its own; `None` draws one and
            prints it, so that a picture one likes can be made again. Seeds
            are in [0, 2**32): beyond, two would be the same.
        num_images: int.

    Returns:
        uint32 array of shape `(num_images,)`.

    Raises:
        ValueError: if `seed` is not as said, or is `None` where several
            processes draw the same pictures: each would draw another.

    Example:
    ```python
    from keras_muse.samplers.seeds import image_seeds

    image_seeds(7, 3)  # [7, 8, 9]
    ```
    """
    if isinstance(seed, np.ndarray) and seed.dtype == "uint32":
        if seed.shape == (num_images,):
            return seed  # as it comes from here
    if seed is None:
        distribution = keras.distribution.distribution()
        if distribution is not None and distribution.num_processes > 1:
            raise ValueError(
                "`seed` must be given, and the same, in each of the "
                f"{distribution.num_processes} processes. Received: seed=None"
            )
        seed = int(np.random.default_rng().integers(2**31))
        say(f"seed={seed}")
    try:
        if np.ndim(seed) == 0:
            first = check_int(seed, "seed", low=0, high=NUM_SEEDS - num_images)
            return np.arange(first, first + num_images).astype("uint32")
        seeds = [check_int(s, "seed", low=0, high=NUM_SEEDS - 1) for s in seed]
        if len(seeds) == num_images:
            return np.array(seeds, "uint32")
    except Exception:  # each library has its own
        pass
    raise ValueError(
        f"`seed` must be an int or a list of {num_images} ints, one per image, "
        f"that leave each image a seed in [0, 2**32). Received: "
        f"seed={show(seed)}"
    )
