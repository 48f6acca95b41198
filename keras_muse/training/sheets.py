"""Sheets of pictures with words under them."""

import bisect
import functools
import io
import math
import os
from collections.abc import Iterable

import numpy as np
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont

from keras_muse.files.picture_names import is_picture
from keras_muse.files.picture_texts import png_texts
from keras_muse.files.whole import write_whole_file
from keras_muse.runtime.checks import check_array
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_path
from keras_muse.runtime.checks import check_texts
from keras_muse.runtime.checks import show

# All in pixels of the sheet.
_MARGIN = 16
_GUTTER = 8
_LABEL_GAP = 3
_SECTION_GAP = 20
_COMFORTABLE_WIDTH = 128
_LABEL_SIZE = 12
_TITLE_SIZE = 18
_LABEL_LINES = 2
_LONGEST_LABEL = 4000  # characters that are looked at


def draw_grid(
    images, labels=None, columns=8, scale=None, path=None, parameters=None
):
    """Draws images in rows on white, each with its label below.

    Args:
        images: uint8 array of shape `(num_images, height, width, 3)`.
        labels: list of strings, one per image, or `None`. Wrapped to two
            lines and cut where they are longer. Defaults to `None`.
        columns: integer. Images in a row. Defaults to `8`.
        scale: integer. How many times images are enlarged, smoothly; with 1
            they are copied bit for bit. `None` makes them at least 128 pixels
            wide. Defaults to `None`.
        path: string or path. Where to write the sheet as well, in the format
            of its suffix; missing directories are made. Defaults to `None`.
        parameters: list of dicts, one per image, or `None`. How they were
            drawn, as `keras_muse.muse.parameters.describe` gives it; a PNG
            keeps it, and `keras_muse.read_parameters` gives it back. Defaults
            to `None`.

    Returns:
        A `PIL.Image.Image`.

    Raises:
        ValueError: if `images` are not uint8 of that shape, or there are none,
            or not one label for each.

    Example:

    ```python
    import numpy as np

    import keras_muse

    images = np.random.randint(0, 256, (4, 32, 32, 3), "uint8")
    keras_muse.training.draw_grid(
        images, ["a red apple", "a cat", "a tree", "a car"], path="grid.png"
    )
    ```
    """
    images = check_array(images, "images")
    if isinstance(parameters, list | tuple) and len(parameters) != len(images):
        raise ValueError(
            "`parameters` must be one per image. Received: "
            f"{len(parameters)} parameters for {len(images)} images"
        )
    sections = [(None, images, labels)]
    return draw_sections(sections, columns, scale, path, parameters)


def draw_sections(sections, columns=8, scale=None, path=None, parameters=None):
    """Draws several grids below each other, each under its title.

    Args:
        sections: list of `(title, images, labels)`: a string or `None`, a
            uint8 array of shape `(num_images, height, width, 3)`, and a list
            of strings or `None`. Sections may differ in image size.
        columns: integer. Images in a row. Defaults to `8`.
        scale: integer or `None`, as in `draw_grid`. Defaults to `None`.
        path: string or path, as in `draw_grid`. Defaults to `None`.
        parameters: list of dicts or `None`, as in `draw_grid`; of the images
            that were drawn, whatever the section. Defaults to `None`.

    Returns:
        A `PIL.Image.Image`.

    Raises:
        ValueError: as `draw_grid`, and if there are no sections.

    Example:

    ```python
    import numpy as np

    import keras_muse

    images = np.random.randint(0, 256, (4, 32, 32, 3), "uint8")
    keras_muse.training.draw_sections(
        [("originals", images, None), ("reconstructions", images, None)]
    )
    ```
    """
    if not isinstance(sections, Iterable):
        raise ValueError(
            "`sections` must be a list of (title, images, labels). Received: "
            f"sections={show(sections)}"
        )
    sections = list(sections)
    if not sections:
        raise ValueError("There must be a section. Received: sections=[]")
    for section in sections:
        is_triple = isinstance(section, list | tuple) and len(section) == 3
        if not is_triple or not isinstance(section[0], str | None):
            raise ValueError(
                "A section must be a title or None, images and labels or "
                f"None. Received: {show(section)}"
            )
    columns = check_int(columns, "columns")
    scale = None if scale is None else check_int(scale, "scale")
    if path is not None:
        _check_ending(path)
    blocks = [
        _draw_section(title, *_checked(images, labels), columns, scale)
        for title, images, labels in sections
    ]
    sheet = _blank(
        max(block.width for block in blocks) + 2 * _MARGIN,
        sum(block.height + _SECTION_GAP for block in blocks)
        - _SECTION_GAP
        + 2 * _MARGIN,
    )
    top = _MARGIN
    for block in blocks:
        sheet.paste(block, (_MARGIN, top))
        top += block.height + _SECTION_GAP
    if path is not None:
        save_picture(sheet, path, parameters)
    return sheet


def _checked(images, labels):
    images = check_array(images, "images")
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[-1] != 3
        or not images.size
    ):
        raise ValueError(
            "`images` must be uint8 of shape (num_images, height, width, 3). "
            f"Received: {images.dtype} of shape {images.shape}"
        )
    labels = None if labels is None else check_texts(labels, "labels")
    if labels is not None and len(labels) != len(images):
        raise ValueError(
            "`labels` must be one for each image. "
            f"Received: {len(labels)} labels for {len(images)} images"
        )
    return images, labels


def _draw_section(title, images, labels, columns, scale):
    height, width = images.shape[1:3]
    scale = scale or math.ceil(_COMFORTABLE_WIDTH / width)
    height, width = height * scale, width * scale
    texts = [_wrapped(label, width) for label in labels or []]
    num_lines = max(map(len, texts), default=0)
    label_height = num_lines * _line_height(_LABEL_SIZE) + _LABEL_GAP
    title_height = _line_height(_TITLE_SIZE) + _GUTTER if title else 0

    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    row_height = height + label_height + _GUTTER
    section_width = columns * (width + _GUTTER) - _GUTTER
    if title:
        title_width = _font(_TITLE_SIZE).getlength(title)
        section_width = max(section_width, math.ceil(title_width))
    section = _blank(section_width, title_height + rows * row_height - _GUTTER)
    draw = ImageDraw.Draw(section)
    if title:
        draw.text((0, 0), title, "black", _font(_TITLE_SIZE))
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        left = column * (width + _GUTTER)
        top = title_height + row * row_height
        picture = Image.fromarray(image)
        if scale > 1:
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        section.paste(picture, (left, top))
        for line, text in enumerate(texts[i] if texts else []):
            below = top + height + _LABEL_GAP + line * _line_height(_LABEL_SIZE)
            draw.text((left, below), text, "black", _font(_LABEL_SIZE))
    return section


def _wrapped(label, width):
    """Breaks a label into lines that fit the width, at most two."""
    font = _font(_LABEL_SIZE)
    lines, words = [], str(label)[:_LONGEST_LABEL].split()
    while words and len(lines) < _LABEL_LINES:
        line = words.pop(0)
        while words and font.getlength(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        lines.append(line)
    if words:  # what is left does not fit any more
        lines[-1] = f"{lines[-1]} {' '.join(words)}"
    return [_cut(line, width) for line in lines]


def _cut(line, width):
    font = _font(_LABEL_SIZE)
    if font.getlength(line) <= width:
        return line
    # The longest beginning that fits.
    length = bisect.bisect_right(
        range(len(line)),
        width,
        key=lambda length: font.getlength(f"{line[:length]}..."),
    )
    return f"{line[: max(0, length - 1)].rstrip()}..."


@functools.cache
def _font(size):
    return ImageFont.load_default(size)


def _line_height(size):
    return round(1.35 * size)


def _blank(width, height):
    return Image.new("RGB", (width, height), "white")


# === Files ===


def _check_ending(path):
    """Refuses a name from which no format is known."""
    if not is_picture(check_path(path, "path")):
        raise ValueError(
            "`path` must end as a format of pictures does, such as .png. "
            f"Received: path={os.fspath(path)!r}"
        )


def save_picture(picture, path, parameters=None, overwrite=True):
    """Writes a `PIL.Image.Image`, whole or not at all.

    Args:
        picture: `PIL.Image.Image`.
        path: string or path, with the suffix of a format; missing directories
            are made.
        parameters: dict, list of dicts or `None`. How it was drawn, or how
            those on it were; a PNG keeps it, other formats do not.
        overwrite: bool. Whether to replace a file that is there.

    Raises:
        FileExistsError: if it is there and may not be replaced.
    """
    texts = None if not parameters else png_texts(parameters, picture.size)
    with write_whole_file(path, overwrite) as temporary:
        # On a full disk PIL itself cuts a JPEG short without a word.
        encoded = io.BytesIO()
        encoded.name = temporary  # from which it tells the format
        picture.save(encoded, pnginfo=texts)
        with open(temporary, "wb") as file:
            file.write(encoded.getbuffer())
