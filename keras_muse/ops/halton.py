"""The Halton sequence: an order in which points fill a square evenly."""

import numpy as np


def halton_order(height, width):
    """Orders the cells of a grid so that each beginning of it is spread out.

    The points of the Halton sequence (base 2 down, base 3 across) fall into
    the cells one after the other; a cell's turn is when it is first hit.

    Args:
        height: int. Rows of the grid.
        width: int. Columns of the grid.

    Returns:
        int array of shape `(height * width,)`: the cells, counted row by row,
        in the order of their turns. Each cell is in it once.

    Example:
    ```python
    from keras_muse.ops.halton import halton_order

    halton_order(2, 2)  # [2, 1, 0, 3]
    ```

    Reference:
        - [Besnier et al., 2025](https://arxiv.org/abs/2503.17076)
    """
    num_cells = num_points = height * width
    first_hits = []
    # The points are dense, so that sooner or later each cell is hit.
    while len(first_hits) < num_cells:
        num_points *= 2
        index = np.arange(1, num_points + 1)
        row = _scaled_radical_inverse(index, 2, height)
        column = _scaled_radical_inverse(index, 3, width)
        cells = row * width + column
        _, first_hits = np.unique(cells, return_index=True)
    return cells[np.sort(first_hits)]


def _scaled_radical_inverse(index, base, size):
    """`floor(size * phi(index))`, `phi` the digits mirrored at the point.

    In integers: where `size` is a multiple of the base, the product is often
    whole, and a rounding error would move a point to the cell before.
    """
    mirrored, scale = np.zeros_like(index), 1
    while index.any():
        mirrored = mirrored * base + index % base
        index = index // base
        scale *= base
    return mirrored * size // scale
