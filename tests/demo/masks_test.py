"""Masks from paint, and the cells that they touch."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_muse.demo import masks


def layer(size, *painted):
    paint = np.zeros((*size, 4), "uint8")
    for rows, columns in painted:
        paint[rows, columns] = (230, 60, 90, 255)
    return encoded(paint)


def encoded(paint):
    file = io.BytesIO()
    Image.fromarray(paint).save(file, "PNG")
    return file.getvalue()


def test_what_is_painted_is_masked():
    painted = (slice(0, 1), slice(0, 2)), (slice(3, 4), slice(5, 6))
    expected = np.zeros((4, 6), "bool")
    expected[0, :2] = expected[3, 5] = True
    np.testing.assert_array_equal(
        masks.mask_of_layer(layer((4, 6), *painted), (4, 6)), expected
    )
    nothing = masks.mask_of_layer(None, (4, 6))
    assert nothing.shape == (4, 6) and not nothing.any()


def test_paint_that_shines_through_is_paint():
    thin = np.zeros((2, 2, 4), "uint8")
    thin[0, 0, 3] = 1
    assert masks.mask_of_layer(encoded(thin), (2, 2)).sum() == 1


def test_a_pixel_is_masked_if_any_of_its_square_is_painted():
    size = (128, 192)  # what is painted on is twice as large
    canvas = layer((256, 384), (slice(7, 8), slice(8, 9)))
    expected = np.zeros(size, "bool")
    expected[3, 4] = True
    np.testing.assert_array_equal(masks.mask_of_layer(canvas, size), expected)


@pytest.mark.parametrize(
    "size", [(5, 6), (8, 6), (2, 3), (8, 18), (8, 12), (400, 600)]
)
def test_a_mask_of_another_size_is_refused(size):
    with pytest.raises(ValueError, match=f"Received: {size[1]} x {size[0]}"):
        masks.mask_of_layer(layer(size), (4, 6))


def test_a_mask_of_another_size_is_not_unpacked():
    """The pixels are missing, which is not what is said."""
    content = layer((400, 600))[:100]
    with pytest.raises(ValueError, match="Received: 600 x 400"):
        masks.mask_of_layer(content, (4, 6))


def test_what_is_no_picture_is_no_mask():
    cut = layer((4, 6), (slice(0, 2), slice(1, 3)))[:50]
    for content in (b"", b"nothing", cut):
        with pytest.raises(ValueError, match="`mask` cannot be read"):
            masks.mask_of_layer(content, (4, 6))


def test_cells_that_the_mask_touches_are_outlined():
    picture = np.full((128, 128, 3), 200, "uint8")
    mask = np.zeros((128, 128), "bool")
    mask[31:33, 70] = True  # across the border of two cells of 32 pixels
    shown = masks.show_cells(picture, mask, (4, 4))
    assert shown.shape == (512, 512, 3)
    lines = (shown == masks.TINT).all(-1)
    # Around both cells, and between them; nowhere else.
    assert lines[:256, 256].all() and lines[:256, 383].all()
    assert lines[127, 256:384].all() and lines[0, 300] == 0
    assert not lines[300:].any() and not lines[:, :250].any()
    # The mask itself is tinted, and all else as it was.
    assert (shown[126, 282] != 200).all()
    assert (shown[400, 400] == 200).all()
