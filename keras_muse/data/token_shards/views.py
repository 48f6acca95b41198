"""Views of a picture, as many as are tokenized: resized, cropped, mirrored."""

import numpy as np
from PIL import Image
from PIL import ImageOps


def picture_views(image, size, seed, num_views, crop_scale, random_flip):
    """Cuts views out of a picture, each a function of its seed and number.

    The first view is the largest central part with the aspect of `size`. The
    others are random parts of the same aspect, mirrored by chance when
    `random_flip` is set.

    Args:
        image: uint8 array of shape `(height, width, 3)`.
        size: pair of ints `(height, width)`. Only its aspect counts.
        seed: list of ints, the counter of the random numbers.
        num_views: int.
        crop_scale: pair of floats in (0, 1]. The range of the area of a
            random part, relative to the first view's.
        random_flip: bool. Whether half of the random views are mirrored.

    Returns:
        List of pairs `(picture, box)`: a Pillow picture and the box
        `(left, top, right, bottom)` of the view in it, for `resize_view`.
    """
    picture = Image.fromarray(image)
    fit = min(picture.height / size[0], picture.width / size[1])
    # Rounding must not push the box over the border.
    height = min(fit * size[0], picture.height)
    width = min(fit * size[1], picture.width)
    views = [(picture, _box(picture, height, width, 0.5, 0.5))]
    for view in range(1, num_views):
        words = np.random.SeedSequence([*seed, view]).generate_state(4)
        area, top, left, flip = words / 2**32
        side = np.sqrt(crop_scale[0] + area * (crop_scale[1] - crop_scale[0]))
        box = _box(picture, side * height, side * width, top, left)
        mirrored = random_flip and flip < 0.5
        views.append((ImageOps.mirror(picture) if mirrored else picture, box))
    return views


def check_flip(random_flip, num_views):
    """Refuses to mirror where there is the first view alone, which never is.

    Args:
        random_flip: bool.
        num_views: int, or `None` where it is chosen later.
    """
    if random_flip and num_views == 1:
        raise ValueError(
            "`random_flip` mirrors random views, from the second on: "
            "`num_views` must be at least 2. Received: num_views=1, "
            "random_flip=True"
        )


def resize_view(view, size):
    """Resizes a view of `picture_views` with antialiasing.

    Args:
        view: pair `(picture, box)`.
        size: pair of ints `(height, width)`.

    Returns:
        uint8 array of shape `(height, width, 3)`; the very pixels when the
        view is the whole picture and has this size.
    """
    picture, box = view
    resized = picture.resize(
        (size[1], size[0]), Image.Resampling.LANCZOS, box=box
    )
    return np.asarray(resized)


def _box(picture, height, width, top, left):
    """Box of `height` x `width` at a relative position in the picture."""
    top *= picture.height - height
    left *= picture.width - width
    right = min(left + width, picture.width)
    bottom = min(top + height, picture.height)
    return left, top, right, bottom
