"""Where pictures are written, what is there already, and what is left."""

import pathlib
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import keras_muse
from keras_muse.commands.picture_files import read_mask
from keras_muse.commands.picture_files import read_picture
from keras_muse.muse.muse import Muse
from tests.helpers import interrupts
from tests.helpers.drawing_commands import generate
from tests.helpers.drawing_commands import numbered
from tests.helpers.drawing_commands import pixels
from tests.helpers.drawing_commands import said
from tests.helpers.tiny_muse import shared_muse

pytestmark = pytest.mark.usefixtures("loaded")


def messages_of(make):
    """What is said of a file that is no picture for a command."""
    path = pathlib.Path("in.png")
    Image.new("RGB", (64, 64)).save(path)
    make(path)
    messages = []
    for read in (read_picture, lambda path: read_mask(path, None)):
        with pytest.raises(ValueError, match=r"`in\.png`") as caught:
            read("in.png")
        messages.append(str(caught.value))
    return messages


def with_size(path, width, height):
    """A PNG whose header says that it is larger."""
    data = path.read_bytes()
    header = data[12:16] + struct.pack(">II", width, height) + data[24:29]
    check = struct.pack(">I", zlib.crc32(header))
    path.write_bytes(data[:12] + header + check + data[33:])


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda path: with_size(path, 40000, 4000),
            "40000 x 4000 .* than 8947",
        ),
        (lambda path: with_size(path, 40000, 40000), "1600000000 pixels"),
        (
            lambda path: Image.fromarray(np.eye(8, dtype="float32")).save(
                path, "TIFF"
            ),
            "floating|mode F|from F",
        ),
        (lambda path: path.write_text("{}"), "no picture of a known format"),
    ],
)
def test_of_what_is_whole_no_damage_is_said(make, words):
    for one in messages_of(make):
        assert re.search(f"cannot be used: .*({words})", one), one
        assert "damage" not in one and "max_pixels" not in one


def test_what_is_cut_short_may_be_damaged():
    for one in messages_of(lambda x: x.write_bytes(x.read_bytes()[:-30])):
        assert "cannot be read; it may be damaged or cut short" in one


def test_no_metadata_is_none():
    generate("a cat", "--output", "a.png", "--seed", 3, "--no-metadata")
    assert Image.open("a.png").info == {}
    with pytest.raises(ValueError, match=r"`a\.png` has no text `keras_muse`"):
        keras_muse.read_parameters("a.png")


def test_only_a_png_remembers(capsys):
    generate("a cat", "--output", "a.webp", "--seed", 3)
    assert Image.open("a.webp").size == (16, 16)
    assert "Only a PNG" in said(capsys)[-2]


@pytest.mark.parametrize("name", ["a.h5", "a.xbm", "a.msp", "a.blp", "a.txt"])
def test_what_takes_no_colours_is_refused_before_the_drawing(name, loaded):
    """Pillow registers writers that refuse colours, or all that they get."""
    with pytest.raises(SystemExit, match=rf"name of a pic.*--output {name}"):
        generate("a cat", "--output", name)
    assert loaded == [] and not pathlib.Path(name).exists()


def test_a_directory_may_have_the_name_of_a_kind_that_is_not_written():
    pathlib.Path("runs.h5").mkdir()
    generate("a cat", "--output", "runs.h5", "--seed", 3)
    assert [x.name for x in numbered("runs.h5")] == ["00001.png"]


def test_a_picture_that_is_there_is_kept(loaded):
    pathlib.Path("a.png").write_text("mine")
    with pytest.raises(SystemExit, match="is kept.*Received: --output a.png"):
        generate("a cat", "--output", "a.png")
    assert pathlib.Path("a.png").read_text() == "mine" and loaded == []
    generate("a cat", "--output", "a.png", "--overwrite")
    assert pixels("a.png").shape == (16, 16, 3)


def test_a_picture_that_appears_meanwhile_is_kept(monkeypatch):
    def from_preset(preset):
        pathlib.Path("a.png").write_text("mine")
        return shared_muse(cascade=False)

    monkeypatch.setattr(Muse, "from_preset", from_preset)
    with pytest.raises(SystemExit, match="exists: 'a.png'"):
        generate("a cat", "--output", "a.png")
    assert [x.read_text() for x in pathlib.Path().iterdir()] == ["mine"]


def test_a_directory_is_gone_on_with():
    generate("a cat", "--output", "pictures/", "--seed", 1)
    pathlib.Path("pictures/00007.png").write_text("mine")
    pathlib.Path("pictures/other 9.png").write_text("mine")
    first = pathlib.Path("pictures/00001.png").read_bytes()
    generate("a cat", "--output", "pictures", "--seed", 2)
    assert [x.name for x in numbered()] == [
        *("00001.png", "00007.png", "00008.png", "other 9.png")
    ]
    assert pathlib.Path("pictures/00001.png").read_bytes() == first
    generate("a cat", "--output", "pictures", "--seed", 2, "--overwrite")
    assert keras_muse.read_parameters("pictures/00001.png")["seed"] == 2
    assert len(numbered()) == 4


@pytest.mark.parametrize("output", ["a.png", "pictures/"])
def test_control_c_leaves_nothing_half_written(output, monkeypatch, capsys):
    save, saved = Image.Image.save, []
    num_images = 2 if output == "pictures/" else 1

    def interrupted(picture, file, **options):
        save(picture, file, **options)
        if picture.size == (8, 8):
            return  # a trial of what can be written
        saved.append(file)
        if len(saved) == num_images:
            interrupts.press()

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with interrupts.heard(), pytest.raises(SystemExit) as caught:
        generate("a cat", "--num-images", num_images, "--output", output)
    assert caught.value.code == 130
    assert capsys.readouterr().err == "keras-muse: interrupted\n"
    # What was whole by then stays.
    left = [str(x) for x in pathlib.Path().rglob("*.*")]
    assert left == (["pictures/00001.png"] if output == "pictures/" else [])
