"""Which names are those of pictures."""

import io
import os


def is_picture(path):
    """Whether a name is that of a picture in colours that can be written.

    Args:
        path: string.
    """
    from PIL import Image

    suffix = os.path.splitext(path)[1].lower()
    kind = Image.registered_extensions().get(suffix)
    if kind not in Image.SAVE:
        return False
    # Some writers take black and white alone, and some are only announced.
    try:
        Image.new("RGB", (8, 8)).save(io.BytesIO(), format=kind)
    except Exception:  # each writer has its own
        return False
    return True
