"""Edits without seams: colours that meet those around a mask."""

import numpy as np
from scipy import ndimage
from scipy import sparse
from scipy.sparse import linalg

_TAXICAB = ndimage.generate_binary_structure(2, 1)  # the four neighbours


def blend_border(drawn, images, masks, width):
    """Draws over from what surrounds a mask to what was drawn under it.

    Gradient-domain blending, in a band inside of the mask: to what was drawn
    the difference is added by which it misses the picture at the border,
    spread over the band as a membrane that is held there and lies flat on the
    inner side (Laplace's equation). So the border has no jump of its own, and
    what was drawn keeps its detail. What is under a mask is never looked at.

    Args:
        drawn: uint8 array of shape `(batch, height, width, 3)`, what was
            drawn, over the whole of each picture.
        images: uint8 array of that shape, the pictures.
        masks: bool array of shape `(batch, height, width)`.
        width: int, 1 or more. Pixels from the border, over its sides, to
            where what was drawn is left as it is.

    Returns:
        uint8 array of that shape: `images` outside of the masks, bit for bit.

    Reference:
        - [Perez et al., 2003](https://doi.org/10.1145/882262.882269), section
          2; the difference as a membrane is equation 5
    """
    blended = np.where(masks[..., None], drawn, images)
    steps = min(width, sum(masks.shape[1:]))  # as far as there is anything
    for row, now, then, mask in zip(blended, drawn, images, masks, strict=True):
        band = mask & ndimage.binary_dilation(~mask, _TAXICAB, steps)
        if band.any():  # none where all is masked
            missing = np.where(mask[..., None], 0.0, then.astype(float) - now)
            smooth = now[band] + _membrane(missing, band)
            row[band] = np.clip(np.rint(smooth), 0, 255)
    return blended


def _membrane(values, band):
    """Solves Laplace's equation in a band, with the values about it held.

    Beyond the edges of a picture there is nothing, and nothing is held.

    Args:
        values: float array of shape `(height, width, channels)`.
        band: bool array of shape `(height, width)`, of which every part
            touches something else.

    Returns:
        float array of shape `(band.sum(), channels)`, row by row.
    """
    number = np.full(band.shape, -1)
    number[band] = np.arange(band.sum())
    degree = np.zeros(band.sum())
    held = np.zeros((band.sum(), values.shape[-1]))
    rows, columns = [], []
    for here, there in _neighbours():
        inside = band[here]
        own, other = number[here][inside], number[there][inside]
        # A pixel has one neighbour in a direction: no index comes twice.
        degree[own] += 1
        is_held = other < 0
        held[own[is_held]] += values[there][inside][is_held]
        rows.append(own[~is_held])
        columns.append(other[~is_held])
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    links = sparse.csc_matrix(
        (np.ones(len(rows)), (rows, columns)), shape=2 * (len(degree),)
    )
    return linalg.splu((sparse.diags(degree) - links).tocsc()).solve(held)


def _neighbours():
    """Pairs of slices: pixels, and their neighbours in each direction."""
    first, last, whole = slice(None, -1), slice(1, None), slice(None)
    for here, there in ((first, last), (last, first)):
        yield (here, whole), (there, whole)
        yield (whole, here), (whole, there)
