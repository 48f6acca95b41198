"""From encoded bytes to RGB pictures of one size."""

import functools
import io
import warnings

import numpy as np
from PIL import Image
from PIL import ImageCms
from PIL import ImageOps
from PIL import TiffImagePlugin
from PIL import UnidentifiedImageError

from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_ints
from keras_muse.runtime.checks import show

# Decoders that run in the process itself. Pillow has others, of which one
# starts a program for what calls itself a picture.
FORMATS = (
    "AVIF",
    "BMP",
    "GIF",
    "JPEG",
    "JPEG2000",
    "PNG",
    "PPM",
    "TIFF",
    "WEBP",
)
# Pillow itself warns beyond, and refuses more than twice as many.
MAX_PIXELS = 89_478_485
MOST_PIXELS = 2 * MAX_PIXELS
_ORIENTATION = 0x0112  # of EXIF: how a picture is to be turned
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@functools.cache
def _formats():
    """Those that this Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def as_size(image_size, argument="image_size"):
    """An int or a pair of ints as `(height, width)`; None stays None."""
    if image_size is None:
        return None
    try:
        if np.ndim(image_size) == 0:
            return (check_int(image_size, argument),) * 2
        return check_ints(image_size, argument, length=2)
    except Exception as error:  # each library has its own
        raise ValueError(
            f"`{argument}` must be a positive int or a pair of them. "
            f"Received: {argument}={show(image_size)}"
        ) from error


def check_header(source, max_pixels=MAX_PIXELS):
    """Raises where the header of a picture cannot be read, or says too much."""
    if not isinstance(source, np.ndarray):
        with open_picture(source, max_pixels):
            pass


def picture_size(source, max_pixels=MAX_PIXELS):
    """`(height, width)` of a picture, of which only the header is read.

    It is that of the picture as `decode` turns it.

    Args:
        source, max_pixels: as in `decode`.
    """
    if isinstance(source, np.ndarray):
        return source.shape[:2]
    with open_picture(source, max_pixels) as picture:
        width, height = picture.size
        if picture.format == "TIFF":  # whose size is the turned one already
            width = picture.tag_v2[TiffImagePlugin.IMAGEWIDTH]
            height = picture.tag_v2[TiffImagePlugin.IMAGELENGTH]
        changes_sides = _orientation(picture) in (5, 6, 7, 8)
    return (width, height) if changes_sides else (height, width)


def open_picture(source, max_pixels):
    """A picture of which only the header is read, by Pillow itself alone.

    Args:
        source: bytes of an image file.
        max_pixels: int. Larger pictures are refused before they are unpacked.

    Returns:
        `PIL.Image.Image`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            picture = Image.open(io.BytesIO(source), formats=_formats())
        except UnidentifiedImageError as error:  # it tells where in memory
            raise ValueError("it is no picture of a known format") from error
    if picture.width * picture.height > max_pixels:
        raise ValueError(
            f"{picture.width} x {picture.height} pixels are more than "
            f"max_pixels={max_pixels}"
        )
    # So Pillow opens PNG and PPM of 16 bits, too.
    if picture.mode == "I" and picture.format == "TIFF":
        raise ValueError("integers of 32 bits, or signed, have no known range")
    _scale_transparent(picture)
    return picture


def _scale_transparent(picture):
    """The colour that is transparent in a PNG, in 8 bits as its others are.

    Pillow scales those of more or fewer bits, but not this one.
    """
    if picture.format == "PNG" and "transparency" in picture.info:
        stored, color = picture.tile[0][3], picture.info["transparency"]
        if stored == "RGB;16B":
            picture.info["transparency"] = tuple(x // 256 for x in color)
        else:
            factor = {"L;2": 85, "L;4": 17}.get(stored, 1)
            picture.info["transparency"] *= factor


def _orientation(picture):
    """How EXIF says that a picture is to be turned; `None` if it does not."""
    try:
        return picture.getexif().get(_ORIENTATION)
    except Exception:
        # Of many kinds, on damaged EXIF: the pixels are whole all the same.
        return None


def _turned(picture):
    # Not by `ImageOps.exif_transpose`, which writes all of EXIF anew.
    picture.load()  # what is damaged here is the picture
    turn = _TURNS.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def decode(source, image_size=None, max_pixels=MAX_PIXELS):
    """Decodes one picture to uint8 `(height, width, 3)`.

    The orientation in EXIF is applied, colours of an embedded profile become
    those of sRGB, what is transparent becomes white, 16-bit grey is scaled to
    8 bits, and of an animation the first frame is taken.

    Args:
        source: bytes of an image file, or a uint8 array `(height, width)` or
            `(height, width, channels)`.
        image_size: pair of ints `(height, width)`, or None to keep the size.
            The picture is scaled, keeping its aspect, to cover this size,
            and its centre is cut out.
        max_pixels: int. Larger pictures are refused before they are unpacked.

    Returns:
        uint8 array.
    """
    if isinstance(source, np.ndarray):
        # A trailing axis of one channel is how arrays spell greyscale.
        grey = source.ndim == 3 and source.shape[-1] == 1
        picture = Image.fromarray(source[..., 0] if grey else source)
    else:
        picture = open_picture(source, max_pixels)
        if image_size and picture.format == "JPEG":
            # Lets libjpeg halve a far too large picture; the wanted size is
            # doubled so that the resampling below keeps its quality.
            picture.draft(None, (2 * max(image_size),) * 2)
    profile = picture.info.get("icc_profile")
    picture = _to_rgb(_turned(picture), profile)
    if image_size:
        picture = _fit(picture, image_size)
    return np.asarray(picture)


def decode_mask(source, max_pixels=MAX_PIXELS):
    """Decodes a mask that somebody has painted.

    Args:
        source: bytes of an image file.
        max_pixels: int. Larger masks are refused before they are unpacked.

    Returns:
        bool array of shape `(height, width)`: True where it is nearer to
        white than to black. What is transparent is black: there is no paint.
    """
    picture = _turned(open_picture(source, max_pixels))
    alpha = _in_eight_bits(picture).convert("RGBA").getchannel("A")
    grey = _to_rgb(picture).convert("L")
    return (np.asarray(grey) > 127) & (np.asarray(alpha) > 127)


def resize(images, size):
    """uint8 pictures at another size, as pictures of data sets are brought to.

    Args:
        images: uint8 array of shape `(num_images, height, width, 3)`.
        size: pair of ints, `(height, width)`. It is covered, and what stands
            over is cut off.

    Returns:
        uint8 array of shape `(num_images, *size, 3)`.
    """
    if images.shape[1:3] == tuple(size):
        return images
    return np.stack([_fit(Image.fromarray(x), size) for x in images])


def _fit(picture, size):
    height, width = size
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def _to_rgb(picture, profile=None):
    if picture.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    picture = _in_eight_bits(picture)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or (
        "transparency" in picture.info
    ):
        picture = picture.convert("RGBA")
        # Colours first: a profile knows nothing of what shines through.
        picture = _to_srgb(picture, profile)
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return _to_srgb(picture, profile).convert("RGB")


def _in_eight_bits(picture):
    """Grey of 16 bits a pixel in 8, of which `convert` would clip at 255."""
    if not picture.mode.startswith("I"):
        return picture
    wide = np.asarray(picture).astype("int64")
    grey = Image.fromarray(np.clip(wide // 257, 0, 255).astype("uint8"))
    transparent = picture.info.get("transparency")
    if transparent is None:
        return grey
    # A grey of 8 bits stands for many of 16, of which one is transparent.
    alpha = Image.fromarray((255 * (wide != transparent)).astype("uint8"))
    return Image.merge("LA", (grey, alpha))


def _to_srgb(picture, profile):
    """Colours as an embedded profile means them, in those of the web."""
    if not profile:
        return picture
    alpha = None
    if picture.mode == "RGBA":
        alpha = picture.getchannel("A")
    if picture.mode not in ("RGB", "CMYK", "L"):
        picture = picture.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(
            picture,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        converted = picture.convert("RGB")  # damaged, or of other channels
    if alpha is not None:
        converted.putalpha(alpha)
    return converted
