"""Pictures that a person brings, from anywhere."""

import os

from keras_muse.data.decoding import decode
from keras_muse.demo import limits
from keras_muse.files.damage import reading
from keras_muse.muse.parameters import read_parameters


def read_picture(path, size=None):
    """A picture of the size that a model draws, cut to its shape.

    Args:
        path: string, of the file that came.
        size: pair of ints, height and width. Defaults to that of the picture.

    Returns:
        uint8 array of shape `(height, width, 3)`; of a picture of that size,
        the pixels themselves.

    Raises:
        ValueError: if it is too large or none.
    """
    name = os.path.basename(path)
    if os.path.getsize(path) > limits.MAX_BYTES:
        raise ValueError(
            f"`{name}` must have at most {limits.MAX_BYTES} bytes. Received: "
            f"{os.path.getsize(path)}"
        )
    with reading(name), open(path, "rb") as file:
        return decode(file.read(), size, limits.MAX_PIXELS)


def read_made(path):
    """How a picture was drawn, if its file says so.

    Args:
        path: string, of the file that came.

    Returns:
        The parameters of the picture, of the first one of a sheet, or `None`;
        and what a person should know about it, a sentence, or `None`.
    """
    try:
        made = read_parameters(path)
    except ValueError as error:
        return None, str(error).replace(path, os.path.basename(path))
    if not isinstance(made, list):
        return made, None
    if not made:
        return None, f"`{os.path.basename(path)}` is a sheet of no picture"
    words = f"It is a sheet: the settings are of the first of {len(made)}"
    return made[0], words
