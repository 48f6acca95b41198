from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import qmc

from keras_muse.ops.halton import halton_order


def radical_inverse(index, base):
    """Digit by digit, in fractions."""
    value, place = Fraction(0), Fraction(1, base)
    while index:
        value += (index % base) * place
        index //= base
        place /= base
    return value


def first_hits(height, width):
    """Point by point, until every cell has been hit."""
    order, index = [], 1
    while len(order) < height * width:
        row = int(height * radical_inverse(index, 2))
        column = int(width * radical_inverse(index, 3))
        if row * width + column not in order:
            order.append(row * width + column)
        index += 1
    return order


@pytest.mark.parametrize(
    "grid_size",
    [(1, 1), (1, 7), (7, 1), (2, 2), (4, 4), (3, 5), (8, 4), (9, 27), (24, 24)],
)
def test_cells_in_the_order_of_the_points(grid_size):
    """Sizes that are multiples of 3 have points on the edges of cells."""
    assert halton_order(*grid_size).tolist() == first_hits(*grid_size)


def test_the_first_points():
    """(1/2, 1/3), (1/4, 2/3), (3/4, 1/9), (1/8, 4/9)."""
    order = halton_order(8, 9)
    rows, columns = np.divmod(order[:4], 9)
    assert rows.tolist() == [4, 2, 6, 1]
    assert columns.tolist() == [3, 6, 1, 4]


def test_scipys_points_hit_the_cells_in_this_order():
    points = qmc.Halton(2, scramble=False).random(40_000)[1:]
    cells = np.floor(points * 64).astype(int) @ [64, 1]
    _, first = np.unique(cells, return_index=True)
    assert len(first) == 4096
    np.testing.assert_array_equal(halton_order(64, 64), cells[np.sort(first)])


@pytest.mark.parametrize("grid_size", [(16, 16), (64, 64), (17, 40)])
def test_every_cell_has_one_turn(grid_size):
    order = halton_order(*grid_size)
    assert sorted(order) == list(range(grid_size[0] * grid_size[1]))


@pytest.mark.parametrize("part", [8, 20, 64, 200])
def test_any_beginning_is_spread_out(part):
    rows, columns = np.divmod(halton_order(16, 16)[:part], 16)
    quarters = np.bincount(rows // 8 * 2 + columns // 8, minlength=4)
    assert quarters.max() - quarters.min() <= 4
