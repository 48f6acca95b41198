"""Masks of pixels, on the host: what of a picture is known, and in which cells.

True marks what is to be drawn anew.
"""

import numpy as np
from scipy import ndimage


def touched_cells(masks, grid_size):
    """Marks the cells of a grid in which any pixel is masked.

    No mask is lost however thin it is. Cells need not hold whole pixels: a
    pixel on a border touches the cells on both sides of it.

    Args:
        masks: bool array of shape `(batch, height, width)`.
        grid_size: pair of ints `(grid_height, grid_width)`.

    Returns:
        bool array of shape `(batch, grid_height, grid_width)`.
    """
    rows = _overlaps(grid_size[0], masks.shape[1])  # (grid_height, height)
    columns = _overlaps(grid_size[1], masks.shape[2])  # (grid_width, width)
    return rows @ masks.astype("float32") @ columns.T > 0


def _overlaps(num_cells, num_pixels):
    """Whether cell i and pixel j of a line of length 1 overlap, as 0 or 1."""
    cell, pixel = np.arange(num_cells)[:, None], np.arange(num_pixels)
    begins_before = cell * num_pixels < (pixel + 1) * num_cells
    ends_after = (cell + 1) * num_pixels > pixel * num_cells
    return (begins_before & ends_after).astype("float32")


def fill_masked(values, masks, default):
    """Replaces what is masked by the nearest value that is not.

    Args:
        values: array of shape `(batch, height, width)` or `(batch, height,
            width, channels)`.
        masks: bool array of shape `(batch, height, width)`.
        default: number. Fills rows in which all is masked.

    Returns:
        Array of the shape and dtype of `values`, independent of what they
        are under the masks.
    """
    filled = np.full_like(values, default)
    for row, value, mask in zip(filled, values, masks, strict=True):
        if not mask.all():
            nearest = ndimage.distance_transform_edt(
                mask, return_distances=False, return_indices=True
            )
            row[...] = value[tuple(nearest)]
    return filled


def window_corners(image_size, padding, window_size):
    """Where a window stands that goes outward from a picture on a canvas.

    The first place is about the middle of the picture. From there it moves
    by half its size; the last places are flush with the edges of the canvas,
    so that all of it is covered.

    Args:
        image_size: pair of ints `(height, width)`.
        padding: ints `(top, bottom, left, right)`. Canvas about the picture.
        window_size: pair of ints, not above the size of the canvas.

    Returns:
        List of `(top, left)`, the nearest to the first place first.
    """
    tops = _positions(image_size[0], *padding[:2], window_size[0])
    lefts = _positions(image_size[1], *padding[2:], window_size[1])
    corners = [(top, left) for top in tops for left in lefts]

    def distance(corner):
        return (corner[0] - tops[0]) ** 2 + (corner[1] - lefts[0]) ** 2

    # Sorting is stable: equally near ones always come in the same order.
    return sorted(corners, key=distance)


def _positions(side, before, after, window):
    """Positions of the window along one axis, its first place in front."""
    last, step = before + side + after - window, max(1, window // 2)
    start = min(max(before + (side - window) // 2, 0), last)
    down, up = range(start, 0, -step), range(start, last, step)
    others = {0, *down, *up, last} - {start}
    return [start, *sorted(others)]
