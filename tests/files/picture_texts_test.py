import json
import os
import re
import struct
import zlib

import pytest
from PIL import Image
from PIL import PngImagePlugin

from keras_muse.files import picture_texts
from keras_muse.files.picture_texts import common_text
from keras_muse.files.picture_texts import png_texts
from keras_muse.files.picture_texts import read_own

PARAMETERS = {
    "task": "generate",
    "prompt": "a red apple,\nnoto style",
    "negative_prompt": "blue",
    "seed": 7,
    "num_steps": 24,
    "guidance_scale": 2.0,
    "sampler": {"sampler": "confidence", "temperature": 0.5},
    "preset": "muse_emoji",
    "version": "0.1.0",
}


def write(path, parameters=PARAMETERS, size=(4, 6)):
    Image.new("RGB", size).save(path, pnginfo=png_texts(parameters, size))
    return path


def with_text(path, text, key="keras_muse", **options):
    """A PNG of somebody else, with any text."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text(key, text, **options)
    Image.new("RGB", (4, 4)).save(path, pnginfo=texts)
    return path


def with_chunk(path, kind, contents):
    """A PNG with a chunk before its pixels, as no writer makes it."""
    Image.new("RGB", (4, 4)).save(path)
    data = path.read_bytes()
    check = struct.pack(">I", zlib.crc32(kind + contents))
    chunk = struct.pack(">I", len(contents)) + kind + contents + check
    path.write_bytes(data[:33] + chunk + data[33:])
    return path


def with_late_texts(path, cut=0):
    """Moves all texts of a PNG behind its pixels, as other programs do."""
    data, begin, early, late = path.read_bytes(), 8, b"", b""
    while begin < len(data):
        (length,) = struct.unpack(">I", data[begin : begin + 4])
        chunk = data[begin : begin + length + 12]
        begin += len(chunk)
        if chunk[4:8] in (b"tEXt", b"zTXt", b"iTXt", b"IEND"):
            late += chunk
        else:
            early += chunk
    path.write_bytes((data[:8] + early + late)[: -cut or None])
    return path


def test_what_is_written_is_read(tmp_path):
    assert read_own(write(tmp_path / "a.png")) == PARAMETERS
    sheet = [PARAMETERS, {**PARAMETERS, "prompt": "яблоко 🍎 \0 \ud800"}]
    assert read_own(write(tmp_path / "b.png", sheet)) == sheet


@pytest.mark.parametrize(
    "options", [{}, {"zip": True}], ids=["plain", "compressed"]
)
@pytest.mark.parametrize("prompt", ["a cat", "яблоко 🍎"])
def test_what_others_have_moved_behind_the_pixels_is_read(
    prompt, options, tmp_path
):
    contents = {**PARAMETERS, "prompt": prompt}
    text = json.dumps(contents, ensure_ascii=False)
    path = with_text(tmp_path / "a.png", text, **options)
    assert read_own(with_late_texts(path)) == contents
    # The end of the file is of no use, and may be missing.
    path = with_text(path, text, **options)
    assert read_own(with_late_texts(path, cut=12)) == contents
    path = with_text(path, text, **options)
    with pytest.raises(ValueError, match="no text `keras_muse`"):
        read_own(with_late_texts(path, cut=20))


def test_what_stands_before_the_pixels_counts(tmp_path):
    early = write(tmp_path / "a.png").read_bytes()
    late = with_late_texts(with_text(tmp_path / "b.png", "{}")).read_bytes()
    (tmp_path / "c.png").write_bytes(
        early[:-12] + late[late.find(b"tEXt") - 4 :]
    )
    assert read_own(tmp_path / "c.png") == PARAMETERS


@pytest.mark.parametrize(
    "parameters",
    [
        [],
        [{}],
        [1],
        "a cat",
        {**PARAMETERS, "sampler": "confidence"},
        {**PARAMETERS, "prompt": None},
        {**PARAMETERS, "seed": object()},
        [PARAMETERS, {**PARAMETERS, "seed": object()}],
    ],
)
def test_what_describes_no_picture_is_refused_by_its_name(parameters):
    with pytest.raises(ValueError, match="`parameters`.*Received: parameters="):
        png_texts(parameters, (4, 6))


def test_the_common_text_is_that_of_the_web():
    assert common_text(PARAMETERS, (4, 6)) == (
        "a red apple,\nnoto style\n"
        "Negative prompt: blue\n"
        "Steps: 24, Sampler: confidence, CFG scale: 2, Seed: 7, Size: 4x6, "
        "Model: muse_emoji, Version: keras_muse 0.1.0"
    )
    plain = {**PARAMETERS, "negative_prompt": None, "preset": 'C:\\a, "b"'}
    first, second, last = common_text(plain, (4, 6)).split("\n")
    # The pattern by which the web's programs take the last line apart.
    pattern = r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)'
    settings = dict(re.findall(pattern, last))
    assert list(settings) == [
        *("Steps", "Sampler", "CFG scale", "Seed", "Size", "Model", "Version")
    ]
    assert json.loads(settings["Model"]) == 'C:\\a, "b"'


def test_others_read_the_text_of_the_first_picture(tmp_path):
    path = write(tmp_path / "a.png", [{**PARAMETERS, "prompt": "🍎"}] * 2)
    with Image.open(path) as picture:
        assert picture.info["parameters"].startswith(
            "🍎\nNegative prompt: blue"
        )


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: with_text(path, "{", "other"), "no text `keras_muse`"),
        (
            lambda path: with_text(path, "a cat\nSteps: 3", "parameters"),
            "no text `keras_muse`.*another program, `parameters`",
        ),
        (lambda path: with_text(path, "{"), "`keras_muse` that is no JSON"),
        (lambda path: with_text(path, "[" * 10**5), "RecursionError"),
        (lambda path: with_text(path, "1" * 5000), "no JSON"),
        (
            lambda path: with_text(path, " " * (2**22 + 1)),
            "4194305 characters; at most",
        ),
        (
            lambda path: with_text(path, "0" * 2**22, zip=True),
            "cannot be read as a PNG: .*[Tt]oo (much|large)|no text",
        ),
        (
            lambda path: with_chunk(path, b"iTXt", b"keras_muse\0\0\0\0\0\xff"),
            "no text `keras_muse`",
        ),
        (lambda path: with_chunk(path, b"tEXt", b"keras_muse"), "no JSON"),
        (lambda path: with_late_texts(with_text(path, "{")), "no JSON"),
        (
            lambda path: with_late_texts(with_text(path, "a", "parameters")),
            "no text `keras_muse`.*another program, `parameters`",
        ),
        (
            lambda path: with_late_texts(
                with_text(path, "0" * 2**22, zip=True)
            ),
            "cannot be read as a PNG: .*[Tt]oo (much|large)|no text",
        ),
        (lambda path: Image.new("L", (4, 4)).save(path, "JPEG"), "as a PNG"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "as a PNG"),
        (lambda path: path.mkdir(), "must be the file.*is none"),
        (lambda path: os.mkfifo(path), "must be the file.*is none"),
        (lambda path: None, "must be the file.*does not exist"),
    ],
)
def test_what_cannot_be_read_is_one_error_with_the_file(make, words, tmp_path):
    path = tmp_path / "a.png"
    make(path)
    with pytest.raises(ValueError, match=words) as caught:
        read_own(path)
    assert str(path) in str(caught.value)


def test_no_pixel_is_unpacked(tmp_path, monkeypatch):
    """However many there are."""
    path = write(tmp_path / "a.png", size=(300, 300))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80_000)
    path.write_bytes(path.read_bytes()[:-40])
    assert read_own(path) == PARAMETERS


def test_more_than_can_be_read_is_not_written(monkeypatch):
    monkeypatch.setattr(picture_texts, "MAX_CHARACTERS", 100)
    with pytest.raises(ValueError, match="`parameters`.*100.*Received: "):
        png_texts(PARAMETERS, (4, 4))
