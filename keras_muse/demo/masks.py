"""Masks that a person has painted, and what of a picture they mean."""

import numpy as np

from keras_muse.data.decoding import open_picture
from keras_muse.demo import limits
from keras_muse.files.damage import reading
from keras_muse.ops.pixel_masks import touched_cells

# Of what is seen: the mask, and the lines around the cells that it touches. A
# colour of few things.
TINT = np.array([140, 40, 230])
STRENGTH = 0.45
SHOWN_SIDE = 512  # pixels, about


def mask_of_layer(layer, size):
    """Where anything was painted.

    Args:
        layer: bytes of an image file, on which paint is what is not
            transparent, or `None`: there is none. It is as large as the
            picture, or `scale_of(size)` times that, as what is painted on is.
        size: pair of ints, height and width of the picture.

    Returns:
        bool array of shape `size`: True where any pixel has paint on it.

    Raises:
        ValueError: if the layer is of another size, or no picture.
    """
    if layer is None:
        return np.zeros(size, "bool")
    height, width = size
    sizes = [(k * width, k * height) for k in (1, scale_of(size))]
    with reading("mask"), open_picture(layer, limits.MAX_PIXELS) as picture:
        if picture.size not in sizes:
            raise ValueError(
                "The mask must be of the picture's size, "
                f"{width} x {height} pixels. Received: "
                f"{picture.width} x {picture.height}"
            )
        painted = np.asarray(picture.convert("RGBA"))[..., 3] > 0
    scale = len(painted) // height
    return painted.reshape(height, scale, width, scale).any((1, 3))


def show_cells(picture, mask, grid_size):
    """A picture with its mask, and the tokens that are drawn anew for it.

    Args:
        picture: uint8 array of shape `(height, width, 3)`.
        mask: bool array of shape `(height, width)`.
        grid_size: pair of ints, of the tokens.

    Returns:
        uint8 array, some times as large as the picture.
    """
    scale = scale_of(mask.shape)
    shown = enlarged(picture, scale).astype("float32")
    masked = enlarged(mask, scale)
    shown[masked] += STRENGTH * (TINT - shown[masked])
    cells = touched_cells(mask[None], grid_size)[0]
    shown[_outlines(cells, shown.shape[:2])] = TINT
    return shown.astype("uint8")


def scale_of(size):
    """How many times a picture is enlarged to be painted on."""
    return max(1, SHOWN_SIDE // max(size[:2]))


def enlarged(values, scale):
    """A picture or a mask with every pixel as a square."""
    return values.repeat(scale, 0).repeat(scale, 1)


def _outlines(cells, size):
    """Lines around each of the cells that are marked, as bool of `size`."""
    number = np.where(cells, np.arange(cells.size).reshape(cells.shape), -1)
    rows, columns = (
        np.arange(pixels) * count // pixels
        for pixels, count in zip(size, cells.shape, strict=True)
    )
    number = number[rows][:, columns]
    edges = np.zeros(size, "bool")
    down, right = number[1:] != number[:-1], number[:, 1:] != number[:, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= right
    edges[:, :-1] |= right
    return edges
