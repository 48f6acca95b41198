"""Pictures of every kind become the RGB a person would see."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_muse.data import decoding
from keras_muse.data.decoding import decode
from keras_muse.data.decoding import decode_mask


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


def exif_of(tag, kind, content):
    """EXIF of two entries, of which the second turns the picture."""
    turned = struct.pack("<HHII", 0x0112, 3, 1, 6)
    entry = struct.pack("<HHI4s", tag, kind, 1, content)
    head = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2)
    return head + entry + turned + bytes(4)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif, size",
    [
        (b"Exif\0\0garbage!!", (8, 16)),
        (exif_of(0x011A, 1, b"\1"), (16, 8)),  # a resolution that is a byte
        (exif_of(0x0100, 2, b"9"), (16, 8)),  # a width that is a text
    ],
)
def test_damaged_exif_takes_no_picture_with_it(format, exif, size):
    content = encode(Image.new("RGB", (16, 8), "white"), format, exif=exif)
    assert decode(content).shape == (*size, 3)
    assert decode(content).min() > 250
    assert decode_mask(content).shape == size
    assert decoding.picture_size(content) == size


def test_a_damaged_picture_is_no_damaged_exif():
    content = encode(Image.new("RGB", (16, 8), "white"))
    with pytest.raises(OSError):
        decode(content[:50])


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


def test_integers_of_32_bits_are_refused():
    for pixels in ([[0, 100, 255]], [[0, 2**30, 2**31 - 1]]):
        picture = Image.fromarray(np.array(pixels, "int32"))
        content = encode(picture, "TIFF")
        for read in (decode, decode_mask, decoding.check_header):
            with pytest.raises(ValueError, match="32 bits.*no known range"):
                read(content)
    # Of 16 bits they have one, in every format.
    wide = b"P5 2 1 65535\n" + struct.pack(">2H", 0x8000, 0xFFFF)
    assert decode(wide)[0, :, 0].tolist() == [127, 255]
    grey = Image.fromarray(np.array([[0x8000, 0xFFFF]], "uint16"))
    for format in ("PNG", "TIFF"):
        assert decode(encode(grey, format))[0, :, 0].tolist() == [127, 255]


def test_as_many_pixels_are_opened_as_can_be_asked_for():
    most = decoding.MOST_PIXELS
    content = b"P5 %d 1 255\n"
    assert decoding.picture_size(content % most, most) == (1, most)
    with pytest.raises(Image.DecompressionBombError):
        decoding.picture_size(content % (most + 1), most + 1)


# === Colour profiles ===


def prophoto():
    """A profile of ProPhoto RGB: its primaries, and a gamma of 1.8."""

    def xyz(x, y, z):
        numbers = (round(number * 65536) for number in (x, y, z))
        return b"XYZ " + bytes(4) + struct.pack(">3i", *numbers)

    gamma = b"curv" + bytes(4) + struct.pack(">IH", 1, round(1.8 * 256))
    tags = {
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.7976749, 0.2880402, 0.0),
        b"gXYZ": xyz(0.1351917, 0.7118741, 0.0),
        b"bXYZ": xyz(0.0313534, 0.0000857, 0.8252100),
        **{name: gamma + bytes(2) for name in (b"rTRC", b"gTRC", b"bTRC")},
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"p\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0" + bytes(3),
    }
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">2I", offset + len(body), len(content))
        body += content
    head = struct.pack(
        ">4x4sI4s4s4s", b"", 0x02400000, b"mntr", b"RGB ", b"XYZ "
    )
    head = head.ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    profile = head.ljust(128, b"\0") + struct.pack(">I", len(tags))
    profile += table + body
    return struct.pack(">I", len(profile)) + profile[4:]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_of_a_profile_become_those_of_the_web(mode):
    color = (190, 150, 120, 255)[: len(mode)]
    file = io.BytesIO()
    picture = Image.new(mode, (4, 4), color)
    picture.save(file, "PNG", icc_profile=prophoto())
    seen = decode(file.getvalue())[0, 0]
    np.testing.assert_allclose(seen, (236, 157, 133), atol=3)


def test_a_damaged_profile_is_left_out():
    file = io.BytesIO()
    picture = Image.new("RGB", (4, 4), (190, 150, 120))
    picture.save(file, "PNG", icc_profile=b"no profile")
    assert decode(file.getvalue())[0, 0].tolist() == [190, 150, 120]


def test_a_mask_is_white_paint():
    grey = np.array([[0, 127, 128, 255]], "uint8")
    expected = [[False, False, True, True]]
    for picture in (
        Image.fromarray(grey),
        Image.fromarray(grey.astype("uint16") * 257),
        Image.fromarray(np.stack([grey] * 3, -1)),
    ):
        assert decode_mask(encode(picture)).tolist() == expected
    layer = np.full((1, 4, 4), 255, "uint8")
    layer[..., 3] = grey
    mask = decode_mask(encode(Image.fromarray(layer)))
    assert mask.dtype == "bool" and mask.tolist() == expected
    black = np.zeros((1, 4, 4), "uint8")
    black[..., 3] = 255
    assert not decode_mask(encode(Image.fromarray(black))).any()
    assert decode_mask(encode(Image.fromarray(grey > 127))).tolist() == expected


def test_what_is_transparent_of_sixteen_bits_is_white_and_no_paint():
    """Of greys that are one in 8 bits, one alone is transparent."""
    grey = np.array([[0, 1, 32896, 65535]], "uint16")
    for transparent, place in ((0, 0), (1, 1), (65535, 3)):
        file = io.BytesIO()
        Image.fromarray(grey).save(file, "PNG", transparency=transparent)
        expected, paint = [0, 0, 128, 255], [False, False, True, True]
        expected[place], paint[place] = 255, False
        assert decode(file.getvalue())[0, :, 0].tolist() == expected
        assert decode_mask(file.getvalue()).tolist() == [paint]


def png(depth, row, transparent, kind=0):
    """A PNG of two pixels, of bits and of a kind as Pillow writes none."""

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    head = struct.pack(">IIBBBBB", 2, 1, depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"tRNS", transparent)
        + chunk(b"IDAT", zlib.compress(b"\0" + row))
        + chunk(b"IEND", b"")
    )


def test_what_is_transparent_of_few_bits_is_white():
    for depth, row, transparent in ((2, b"\x60", 1), (4, b"\x5a", 5)):
        content = png(depth, row, struct.pack(">H", transparent))
        assert decode(content)[0, :, 0].tolist() == [255, 170]
        assert decode_mask(content).tolist() == [[False, True]]
        content = png(depth, row, bytes(2))
        assert decode(content)[0, :, 0].tolist() == [85, 170]


def test_what_is_transparent_of_sixteen_bits_in_colours_is_white():
    for color in ((0x1234, 0x8000, 1), (65535,) * 3, (0, 0, 0)):
        transparent = struct.pack(">3H", *color)
        row = transparent + struct.pack(">3H", 0x4000, 0x2000, 0x1000)
        content = png(16, row, transparent, kind=2)
        expected = [[255, 255, 255], [0x40, 0x20, 0x10]]
        assert decode(content)[0].tolist() == expected
        assert not decode_mask(content).any()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_size_of_a_header_is_that_of_the_turned_picture(format):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = encode(Image.new("RGB", (20, 10)), format, exif=exif)
        decoded = decoding.decode(content, None)
        assert decoding.picture_size(content) == decoded.shape[:2]
