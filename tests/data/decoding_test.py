"""Pictures of every kind become the RGB a person would see."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_muse.data.decoding import decode


def encode(picture, format="PNG", **kwargs):
    buffer = io.BytesIO()
    picture.save(buffer, format, **kwargs)
    return buffer.getvalue()


def test_transparency_becomes_white():
    rgba = np.zeros((2, 2, 4), "uint8")
    rgba[0] = (255, 0, 0, 255)
    rgba[1] = (0, 0, 0, 51)
    image = decode(encode(Image.fromarray(rgba)))
    np.testing.assert_array_equal(image[0, 0], (255, 0, 0))
    np.testing.assert_array_equal(image[1, 0], (204, 204, 204))

    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((0, 0), 1)
    image = decode(encode(palette, transparency=1))
    np.testing.assert_array_equal(image[0, 0], (255, 255, 255))
    np.testing.assert_array_equal(image[1, 1], (10, 20, 30))

    grey = Image.fromarray(np.array([[[0, 0], [80, 255]]], "uint8"), "LA")
    assert decode(encode(grey))[0, :, 0].tolist() == [255, 80]


def test_greyscale_of_8_and_16_bits():
    grey = np.array([[0, 128, 255]], "uint8")
    for pixels in (grey, grey.astype("uint16") * 257):
        image = decode(encode(Image.fromarray(pixels)))
        np.testing.assert_array_equal(image, np.stack([grey] * 3, -1))
    np.testing.assert_array_equal(
        decode(grey[..., None]), np.stack([grey] * 3, -1)
    )


def test_exif_orientation_is_applied():
    pixels = np.zeros((8, 16, 3), "uint8")
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image = decode(encode(Image.fromarray(pixels), exif=exif))
    assert image.shape == (16, 8, 3)
    assert image[:8].min() == 255
    assert image[8:].max() == 0


def test_center_is_kept():
    pixels = np.zeros((8, 24, 3), "uint8")
    pixels[:, 8:16] = 200
    image = decode(encode(Image.fromarray(pixels)), (4, 4))
    # The filter reaches a little over the cut.
    assert np.abs(image.astype(int) - 200).max() < 16
    assert decode(encode(Image.fromarray(pixels)), (4, 8)).shape == (4, 8, 3)


def test_downsampling_does_not_alias():
    # A one-pixel checkerboard is grey from afar.
    board = np.indices((64, 64)).sum(0) % 2 * 255
    image = decode(encode(Image.fromarray(board.astype("uint8"))), (8, 8))
    assert np.abs(image.astype(int) - 127).max() <= 2


def test_large_jpeg_matches_plain_decoding():
    ramp = np.linspace(0, 255, 1024).astype("uint8")
    pixels = np.stack([np.tile(ramp, (1024, 1))] * 3, -1)
    image = decode(encode(Image.fromarray(pixels), "JPEG"), (32, 32))
    plain = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX)
    assert np.abs(image.astype(int) - np.asarray(plain)).max() <= 6


def test_floating_point_pixels_are_refused():
    picture = Image.fromarray(np.ones((2, 2), "float32"))
    with pytest.raises(ValueError, match="floating-point"):
        decode(encode(picture, "TIFF"))
