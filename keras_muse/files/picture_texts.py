"""Texts inside of a PNG, by which a picture remembers how it was made.

What is written is a dict of plain values a picture; `muse/parameters.py`
knows what they mean.

Reference:
    - [The PNG specification, 11.3.4](https://www.w3.org/TR/png-3/#11textinfo)
"""

import contextlib
import json
import os
import struct
import warnings

from PIL import Image
from PIL import PngImagePlugin

from keras_muse.files.damage import reading
from keras_muse.runtime.checks import show

OWN = "keras_muse"  # the key of what this package reads
COMMON = "parameters"  # of what web pages for pictures write and read
MAX_CHARACTERS = 2**22
# Of a PNG: how it begins, its chunks of text, and the bytes that end a chunk.
SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
CHECKSUM = 4


def png_texts(parameters, size):
    """The texts of a picture that is about to be written.

    Args:
        parameters: dict, how a picture was made; or a list of them, one for
            each picture of a sheet.
        size: pair of ints `(width, height)`, of the file.

    Returns:
        `PIL.PngImagePlugin.PngInfo`.

    Raises:
        ValueError: if they are not as `muse/parameters.py` describes pictures,
            or too many to be read again.
    """
    try:
        are_many = isinstance(parameters, list | tuple)
        first = parameters[0] if are_many else parameters
        common, own = common_text(first, size), json.dumps(parameters)
    except Exception as error:  # of many kinds: a key, a type, a format
        raise ValueError(
            "`parameters` must be plain values, as `describe` gives them. "
            f"Received: parameters={show(parameters)}, {error!r}"
        ) from error
    if len(own) > MAX_CHARACTERS:
        raise ValueError(
            f"`parameters` must be at most {MAX_CHARACTERS} characters as "
            f"JSON. Received: {len(own)}"
        )
    texts = PngImagePlugin.PngInfo()
    # A name of a file may be no text of Unicode.
    texts.add_text(COMMON, common.encode("utf-8", "backslashreplace").decode())
    texts.add_text(OWN, own)
    return texts


def common_text(parameters, size):
    """How a picture was made, as other programs write it.

    The prompt; a line of the negative one, where there is any; a line of
    settings. The form is that of AUTOMATIC1111's Stable Diffusion web UI,
    which many programs read.

    Args:
        parameters: dict.
        size: pair of ints `(width, height)`.

    Returns:
        string.
    """
    lines = [parameters["prompt"]]
    if parameters.get("negative_prompt"):
        lines.append(f"Negative prompt: {parameters['negative_prompt']}")
    settings = {
        "Steps": parameters["num_steps"],
        "Sampler": parameters["sampler"]["sampler"],
        "CFG scale": f"{parameters['guidance_scale']:g}",
        "Seed": parameters["seed"],
        "Size": f"{size[0]}x{size[1]}",
        "Model": parameters["preset"],
        "Version": f"keras_muse {parameters['version']}",
    }
    lines.append(", ".join(f"{k}: {_quoted(v)}" for k, v in settings.items()))
    return "\n".join(lines).replace("\0", " ")  # which ends a text in a PNG


def _quoted(value):
    """A value that would end too early, as a string of JSON."""
    text = str(value)
    if any(mark in text for mark in ',:"\n'):
        return json.dumps(text, ensure_ascii=False)
    return text


def read_own(path):
    """What `png_texts` has written, parsed and not looked at further.

    No pixel is unpacked.

    Args:
        path: string or path, of a PNG.

    Returns:
        What JSON holds.

    Raises:
        ValueError: with the path, if it is no file, no PNG, has no such text,
            or one that is no JSON or too long.
    """
    path = os.fspath(path)
    text = _read_texts(path)
    if not isinstance(text.get(OWN), str):
        others = " (that of another program, `parameters`, it has)"
        raise ValueError(
            f"`{path}` has no text `{OWN}`: it was not drawn by this package, "
            "or without its settings, or they got lost on the way"
            f"{others if COMMON in text else ''}"
        )
    if len(text[OWN]) > MAX_CHARACTERS:
        raise ValueError(
            f"`{path}` has a text `{OWN}` of {len(text[OWN])} characters; "
            f"at most {MAX_CHARACTERS} are read"
        )
    with reading(path, f"has a text `{OWN}` that is no JSON"):
        return json.loads(text[OWN])


def _read_texts(path):
    if not os.path.isfile(path):  # a pipe is waited for, for ever
        what = "is none" if os.path.exists(path) else "does not exist"
        raise ValueError(f"`{path}` must be the file of a picture, and {what}")
    with reading(path, "cannot be read as a PNG"), warnings.catch_warnings():
        # Of many pixels, none of which is unpacked.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=["PNG"]) as picture:
            texts = dict(picture.info)
        return texts if OWN in texts else {**_all_texts(path), **texts}


def _all_texts(path):
    """Those behind the pixels, too, where other programs may put them."""
    with open(path, "rb") as file:
        stream = PngImagePlugin.PngStream(file)
        kind, end = None, len(SIGNATURE)
        # A file that is cut short, or goes on as no PNG, has no more of them.
        with contextlib.suppress(OSError, SyntaxError, struct.error):
            while kind != b"IEND":
                file.seek(end)
                kind, begin, length = stream.read()
                if kind in TEXTS:
                    stream.call(kind, begin, length)
                end = begin + length + CHECKSUM
        return stream.im_text
