"""Files of pictures: those that a command reads, and those that it writes."""

import os
import re

from keras_muse.files.picture_names import is_picture
from keras_muse.files.places import check_place

# === Pictures that come in ===


def read_picture(path):
    """A picture as uint8 `(height, width, 3)`, as a person sees it."""
    from keras_muse.data.decoding import decode

    return _read(path, decode)


def read_mask(path, picture):
    """A mask of a picture as bool `(height, width)`; white is True."""
    from keras_muse.data.decoding import decode_mask

    mask = _read(path, decode_mask)
    size = picture.shape[:2]
    if mask.shape != size:
        raise ValueError(
            f"`--mask` must be of the picture's size, {size[1]} x {size[0]} "
            f"pixels. Received: `{path}` of {mask.shape[1]} x {mask.shape[0]}"
        )
    if not mask.any():
        raise ValueError(
            "`--mask` must be white where the picture is drawn anew. Received: "
            f"`{path}`, in which nothing is"
        )
    return mask


def _read(path, decode):
    from PIL.Image import DecompressionBombError

    from keras_muse.data.sources.limits import Limits
    from keras_muse.files.damage import reading

    if not os.path.isfile(path):  # a pipe is waited for, for ever
        what = "is none" if os.path.exists(path) else "does not exist"
        raise ValueError(f"`{path}` must be the file of a picture, and {what}")
    if os.path.getsize(path) > Limits().max_bytes:
        raise ValueError(
            f"`{path}` must have at most {Limits().max_bytes} bytes. Received: "
            f"{os.path.getsize(path)}"
        )
    with reading(path), open(path, "rb") as file:
        try:
            return decode(file.read())
        except (ValueError, DecompressionBombError) as error:  # it is whole
            # No command has an argument of this name.
            words = str(error).replace("max_pixels=", "")
            raise ValueError(f"`{path}` cannot be used: {words}") from error


# === Pictures that go out ===


def check(options):
    """Refuses what would be found out after the drawing, and lost by it."""
    if options.num_images < 1:
        raise ValueError(
            "`--num-images` must be 1 or more. Received: "
            f"--num-images {options.num_images}"
        )
    check_output(options, len(options.prompts) * options.num_images)


def check_output(options, num_pictures):
    """Refuses a place where so many pictures cannot be written."""
    output = options.output
    check_place(output, _is_directory(output))
    if _is_directory(output):
        return
    if not is_picture(output):
        raise ValueError(
            "`--output` must be the name of a picture, such as apple.png, or "
            "of a directory that exists or ends in /. Received: --output "
            f"{output}"
        )
    if num_pictures > 1:
        raise ValueError(
            f"`--output` must be a directory for {num_pictures} pictures, such "
            f"as pictures/. Received: --output {output}"
        )
    if os.path.lexists(output) and not options.overwrite:
        raise ValueError(
            "`--output` is there already, and is kept; `--overwrite` replaces "
            f"it. Received: --output {output}"
        )


def _is_directory(output):
    if output.endswith(("/", os.sep)):
        return True
    return os.path.isdir(output) and not is_picture(output)


def save(images, made, options):
    """Writes pictures where they shall be, and prints where that is.

    Args:
        images: uint8 array of shape `(num_images, height, width, 3)`.
        made: list of dicts, how each was drawn.
        options: what the command line says.
    """
    from PIL import Image

    from keras_muse.training.sheets import save_picture

    if not _is_directory(options.output):
        made = None if options.no_metadata else made[0]
        picture = Image.fromarray(images[0])
        save_picture(picture, options.output, made, options.overwrite)
        if made and not options.output.lower().endswith((".png", ".apng")):
            print(
                "Only a PNG remembers how it was drawn: this picture does not"
            )
        print(options.output)
        return
    number = 0 if options.overwrite else _last_number(options.output)
    for image, one in zip(images, made, strict=True):
        one = None if options.no_metadata else one
        number = _save_numbered(
            Image.fromarray(image), one, options, number + 1
        )


def _last_number(directory):
    names = os.listdir(directory) if os.path.isdir(directory) else ()
    numbers = [re.fullmatch(r"(\d{1,9})\.png", name) for name in names]
    return max((int(found[1]) for found in numbers if found), default=0)


def _save_numbered(picture, made, options, number):
    """Writes `00001.png` or the next that is free; returns its number."""
    from keras_muse.training.sheets import save_picture

    while True:
        path = os.path.join(options.output, f"{number:05d}.png")
        try:
            save_picture(picture, path, made, options.overwrite)
        except FileExistsError:  # another process has been faster
            number += 1
        else:
            print(path)
            return number
