import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy import ndimage

from keras_muse.ops import pixel_masks


def random_masks(shape, part, seed=0):
    return np.random.default_rng(seed).random(shape) < part


# === Cells ===


@pytest.mark.parametrize("grid_size", [(4, 3), (8, 12), (16, 24), (1, 1)])
def test_cells_of_whole_pixels_are_a_maximum(grid_size):
    masks = random_masks((3, 16, 24), 0.05)
    cell = (16 // grid_size[0], 24 // grid_size[1])
    # A maximum over each cell, taken where the filter stands on its pixels.
    pooled = ndimage.maximum_filter(
        masks, size=(1, *cell), origin=(0, *[-(side // 2) for side in cell])
    )[:, :: cell[0], :: cell[1]]
    actual = pixel_masks.touched_cells(masks, grid_size)
    assert actual.dtype == bool
    np.testing.assert_array_equal(actual, pooled)


def test_a_line_of_one_pixel_touches_every_cell_on_its_way():
    masks = np.zeros((1, 64, 64), "bool")
    masks[0, :, 37] = True
    expected = np.zeros((1, 8, 8), "bool")
    expected[0, :, 4] = True
    np.testing.assert_array_equal(
        pixel_masks.touched_cells(masks, (8, 8)), expected
    )


@pytest.mark.parametrize("num_pixels, num_cells", [(10, 4), (7, 3), (3, 5)])
def test_cells_that_share_pixels(num_pixels, num_cells):
    """Against intersections of intervals in exact fractions."""
    for y, x in itertools.product(range(num_pixels), repeat=2):
        masks = np.zeros((1, num_pixels, num_pixels), "bool")
        masks[0, y, x] = True
        cells = pixel_masks.touched_cells(masks, (num_cells, num_cells))[0]
        for i, j in itertools.product(range(num_cells), repeat=2):
            overlap = all(
                max(Fraction(c, num_cells), Fraction(p, num_pixels))
                < min(Fraction(c + 1, num_cells), Fraction(p + 1, num_pixels))
                for c, p in ((i, y), (j, x))
            )
            assert cells[i, j] == overlap


def test_each_row_has_its_own_mask():
    masks = np.zeros((3, 8, 8), "bool")
    masks[1, 0, 0] = masks[2] = True
    cells = pixel_masks.touched_cells(masks, (2, 2))
    assert cells.sum(axis=(1, 2)).tolist() == [0, 1, 4]


# === Filling ===


@pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_fills_with_a_nearest_known_value(part, channels):
    """Against the distances of all pairs of pixels."""
    shape = (2, 9, 7)
    masks = random_masks(shape, part)
    masks[:, 4, 3] = False
    size = (*shape, *channels)
    # Values that name their place, so that one sees where they come from.
    values = np.broadcast_to(
        np.arange(63).reshape(1, 9, 7, *(1 for _ in channels)), size
    ).astype("uint8")
    filled = pixel_masks.fill_masked(values, masks, 255)
    assert filled.dtype == values.dtype and filled.shape == size
    for row, mask in zip(filled, masks, strict=True):
        known = np.argwhere(~mask)
        for y, x in np.ndindex(9, 7):
            source = np.unique(row[y, x])
            assert len(source) == 1  # all channels from one pixel
            from_y, from_x = divmod(int(source[0]), 7)
            assert not mask[from_y, from_x]
            distance = (from_y - y) ** 2 + (from_x - x) ** 2
            assert distance == ((known - (y, x)) ** 2).sum(axis=1).min()


def test_what_is_masked_leaves_no_trace():
    generator = np.random.default_rng(0)
    one, other = generator.integers(0, 256, (2, 3, 8, 8, 3)).astype("uint8")
    masks = random_masks((3, 8, 8), 0.5)
    masks[2] = True
    other[~masks] = one[~masks]
    before = one.copy()
    filled = pixel_masks.fill_masked(one, masks, 128)
    np.testing.assert_array_equal(
        filled, pixel_masks.fill_masked(other, masks, 128)
    )
    np.testing.assert_array_equal(filled[~masks], one[~masks])
    assert (filled[2] == 128).all()
    np.testing.assert_array_equal(one, before)


# === Windows ===


@pytest.mark.parametrize(
    "size, padding, window, expected",
    [
        # To one side of a picture of the window's size, and further.
        (8, (0, 8), 8, [0, 4, 8]),
        (8, (0, 13), 8, [0, 4, 8, 12, 13]),
        # Both sides; a small picture stands in the middle of the first.
        (8, (4, 4), 8, [4, 0, 8]),
        (2, (9, 9), 8, [6, 2, 10, 0, 12]),
        # A picture larger than the window, and one that needs no window.
        (20, (8, 0), 8, [14, 10, 18, 20, 6, 2, 0]),
        (8, (0, 0), 8, [0]),
        # Near an edge the first window cannot be about the middle.
        (2, (0, 9), 8, [0, 3]),
        (1, (2, 0), 1, [2, 1, 0]),
    ],
)
def test_windows_along_one_axis(size, padding, window, expected):
    columns = pixel_masks.window_corners(
        (3, size), (0, 0, *padding), (3, window)
    )
    assert columns == [(0, left) for left in expected]
    rows = pixel_masks.window_corners((size, 3), (*padding, 0, 0), (window, 3))
    assert rows == [(top, 0) for top in expected]


@pytest.mark.parametrize("padding", [(9, 0, 3, 21), (5, 17, 0, 0)])
def test_windows_cover_the_canvas_from_the_picture_outward(padding):
    image, window = (10, 12), (8, 8)
    top, bottom, left, right = padding
    height, width = top + 10 + bottom, left + 12 + right
    corners = pixel_masks.window_corners(image, padding, window)
    assert len(set(corners)) == len(corners)
    known = np.zeros((height, width), "bool")
    known[top : top + 10, left : left + 12] = True
    distances = []
    for y, x in corners:
        assert 0 <= y <= height - 8 and 0 <= x <= width - 8
        place = known[y : y + 8, x : x + 8]
        assert place.mean() >= 0.5  # there is always something to go by
        place[...] = True
        distances.append(np.hypot(y - corners[0][0], x - corners[0][1]))
    assert known.all()
    assert distances == sorted(distances)
