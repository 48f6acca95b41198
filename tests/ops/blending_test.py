import numpy as np
import pytest
from scipy import ndimage

from keras_muse.ops.blending import blend_border


def pictures(height=24, width=32, batch=2):
    """Pictures, and what was drawn: smooth, and brighter all over."""
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack([rows * 3, columns * 2, rows + columns], -1) + 40
    images = np.stack([image + 10 * i for i in range(batch)]).astype("uint8")
    return images, images + 50


def square(images, batch=2):
    masks = np.zeros(images.shape[:3], "bool")
    masks[:, 6:18, 8:24] = True
    return masks


def jump(images, masks):
    """Mean difference of neighbours on both sides of the border."""
    values = images.astype(float)
    steps = []
    for axis in (1, 2):
        crosses = np.diff(masks.astype(int), axis=axis) != 0
        steps.append(np.abs(np.diff(values, axis=axis))[crosses])
    return np.concatenate(steps).mean()


def by_hand(drawn, image, mask, width):
    """The membrane of one picture, pixel by pixel until nothing moves."""
    distance = ndimage.distance_transform_cdt(mask, "taxicab")
    band = mask & (distance <= width)
    height, breadth = mask.shape
    membrane = np.where(mask[..., None], 0.0, image.astype(float) - drawn)
    for _ in range(3000):
        new = membrane.copy()
        for y, x in np.argwhere(band):
            about = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            about = [
                membrane[a, b]
                for a, b in about
                if 0 <= a < height and 0 <= b < breadth
            ]
            new[y, x] = np.mean(about, axis=0)
        moved = np.abs(new - membrane).max()
        membrane = new
        if moved < 1e-9:
            break
    blended = np.where(mask[..., None], drawn + membrane, image)
    return np.clip(np.rint(blended), 0, 255)


def test_outside_of_the_mask_nothing_changes():
    images, drawn = pictures()
    masks = square(images)
    blended = blend_border(drawn, images, masks, 4)
    assert blended.dtype == "uint8" and blended.shape == images.shape
    np.testing.assert_array_equal(blended[~masks], images[~masks])
    assert (blended[masks] != images[masks]).any()


def test_the_jump_over_the_border_falls_to_that_of_the_picture():
    images, drawn = pictures()
    masks = square(images)
    pasted = np.where(masks[..., None], drawn, images)
    own, without = jump(images, masks), jump(pasted, masks)
    assert without > own + 40
    found = [
        jump(blend_border(drawn, images, masks, width), masks) - own
        for width in (1, 2, 4, 6)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] < 0.8 * (without - own) and found[-1] < 12


def test_it_is_the_membrane():
    generator = np.random.default_rng(0)
    images, drawn = generator.integers(0, 256, (2, 1, 9, 11, 3), "uint8")
    masks = np.zeros((1, 9, 11), "bool")
    masks[0, 2:, 3:9] = True  # down to the edge of the picture
    masks[0, 4, 5] = False  # with a hole
    for width in (1, 2, 100):
        blended = blend_border(drawn, images, masks, width)
        expected = by_hand(drawn[0], images[0], masks[0], width)
        np.testing.assert_array_equal(blended[0], expected)


def test_beyond_the_band_it_is_what_was_drawn():
    images, drawn = pictures()
    masks = square(images)
    inner = np.zeros_like(masks)
    inner[:, 9:15, 11:21] = True
    blended = blend_border(drawn, images, masks, 3)
    np.testing.assert_array_equal(blended[inner], drawn[inner])
    assert (blended != drawn)[masks & ~inner].all()


def test_what_is_under_the_mask_is_not_looked_at():
    images, drawn = pictures()
    masks = square(images)
    others = np.where(masks[..., None], np.uint8(7), images)
    np.testing.assert_array_equal(
        blend_border(drawn, images, masks, 3),
        blend_border(drawn, others, masks, 3),
    )


def test_detail_of_what_was_drawn_stays():
    """The noise in it does not get weaker towards the border."""
    images, drawn = pictures(40, 40, 1)
    noise = np.random.default_rng(0).integers(-20, 20, drawn.shape)
    masks = square(images)
    noisy = (drawn + noise * masks[..., None]).astype("uint8")
    plain = blend_border(drawn, images, masks, 4).astype(int)
    found = blend_border(noisy, images, masks, 4)
    np.testing.assert_array_equal((found - plain)[masks], noise[masks])


@pytest.mark.parametrize("value", [True, False])
def test_without_a_border_there_is_nothing_to_do(value):
    images, drawn = pictures()
    masks = np.full(images.shape[:3], value)
    np.testing.assert_array_equal(
        blend_border(drawn, images, masks, 3), drawn if value else images
    )


def test_colours_do_not_run_over():
    images = np.full((1, 8, 8, 3), 255, "uint8")
    drawn = np.full_like(images, 100)
    drawn[0, 3:5, 3:5] = 250
    masks = np.zeros((1, 8, 8), "bool")
    masks[0, 3:5, 3:5] = True  # its surroundings miss 155
    blended = blend_border(drawn, images, masks, 2)
    assert (blended == 255).all()
