"""Every source form is read, and what is unusable is skipped and named."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_muse.data import load_image_text
from tests.helpers.collections import COLORS
from tests.helpers.collections import PICTURE
from tests.helpers.collections import check_colors
from tests.helpers.collections import color_files
from tests.helpers.collections import encoded
from tests.helpers.collections import loaded
from tests.helpers.collections import png
from tests.helpers.collections import write


def test_folder_with_metadata(tmp_path):
    write(tmp_path, color_files())
    pairs = load_image_text(tmp_path, image_size=8)
    check_colors(pairs)
    assert [row["hue"] for row in pairs.rows] == list(COLORS)
    assert pairs.report["counts"] == {}


def test_report_names_everything_unusable(tmp_path):
    records = [
        {"file_name": "good.png", "text": ["  ", "one", "two"]},
        {"file_name": "empty.png", "text": "  "},
        {"file_name": "none.png"},
        {"file_name": "missing.png", "text": "missing"},
        {"file_name": "broken.png", "text": "broken"},
        {"text": "of nothing"},
    ]
    lines = [json.dumps(record) for record in records] + ["not json"]
    pictures = {f"{n}.png": png("red") for n in ("good", "empty", "none")}
    pictures |= {"broken.png": b"no picture", "unlisted.png": png("red")}
    write(tmp_path, {**pictures, "metadata.jsonl": "\n".join(lines).encode()})
    with pytest.warns(UserWarning, match="7 of 8 entries"):
        pairs = load_image_text(tmp_path)
    report = pairs.report
    assert pairs.rows[0]["texts"] == ["one", "two"]
    assert report["num_examples"] == 1
    assert report["skipped"] == {
        "unreadable line": ["metadata.jsonl line 6", "metadata.jsonl line 7"],
        "empty caption": ["empty.png", "none.png"],
        "missing picture": ["missing.png"],
        "broken picture": ["broken.png"],
        "no caption": ["unlisted.png"],
    }
    assert sum(report["counts"].values()) == 7


def test_nothing_usable(tmp_path):
    with pytest.raises(ValueError, match="`path` holds no picture"):
        load_image_text(tmp_path)
    with pytest.raises(ValueError, match="not there"):
        load_image_text(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="not there"):
        load_image_text(tmp_path / "nothing")
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match="`path` must be a folder"):
        load_image_text(tmp_path / "a.json")
    with pytest.raises(ValueError, match="`verify`"):
        load_image_text(tmp_path, verify="all")


def write_cut_and_good(directory):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), "uint8")
    Image.fromarray(noise).save(directory / "cut.png")
    content = (directory / "cut.png").read_bytes()
    (directory / "cut.png").write_bytes(content[: len(content) // 2])
    Image.fromarray(noise).save(directory / "good.png")
    for name in ("cut", "good"):
        (directory / f"{name}.txt").write_text(name)


def test_readable_rows(tmp_path):
    write_cut_and_good(tmp_path)
    pairs = load_image_text(tmp_path)
    with pytest.warns(UserWarning, match="cut.png"):
        readable = pairs.readable()
    assert readable.texts == ["good"]
    assert readable.report["skipped"] == {"broken picture": ["cut.png"]}
    (tmp_path / "good.png").write_bytes((tmp_path / "cut.png").read_bytes())
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match="None of the .*2 pictures.*good.png"),
    ):
        load_image_text(tmp_path).readable()


def test_verify_decode_finds_truncated_pictures(tmp_path):
    write_cut_and_good(tmp_path)
    with pytest.warns(UserWarning):
        pairs = load_image_text(tmp_path, verify="decode")
    assert pairs.texts == ["good"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image_text(tmp_path).num_examples == 2


def test_decompression_bomb_is_a_broken_picture(tmp_path, monkeypatch):
    write(tmp_path, color_files())
    (tmp_path / "red.png").write_bytes(png("red", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.warns(UserWarning):
        pairs = load_image_text(tmp_path)
    assert pairs.report["skipped"] == {"broken picture": ["red.png"]}


@pytest.mark.parametrize(
    "kind, ending",
    [("JPEG", ".jfif"), ("JPEG", ".jpe"), ("PPM", ".ppm")]
    + [("JPEG2000", ".jp2"), ("AVIF", ".avif"), ("TIFF", ".tif")],
)
def test_formats_that_people_have(tmp_path, kind, ending):
    content = encoded(kind=kind)
    write(tmp_path, {f"a{ending}": content, "a.txt": b"one"})
    assert loaded(tmp_path, verify="decode")[0] == {f"a{ending}": ["one"]}


def test_a_program_in_the_place_of_a_picture_is_not_run(tmp_path, monkeypatch):
    """Pillow would start Ghostscript for it."""
    import subprocess

    def start(*args, **kwargs):
        raise AssertionError("a program was started")

    for name in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, start)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"
    write(tmp_path, {"a.png": eps + b"showpage\n%%EOF\n", "a.txt": b"one"})
    write(tmp_path, {"b.png": PICTURE, "b.txt": b"two"})
    captions, reasons = loaded(tmp_path, verify="decode")
    assert list(captions) == ["b.png"]
    assert reasons == {"a.png": "broken picture"}


def test_a_picture_of_too_many_pixels_is_not_unpacked(tmp_path):
    write(tmp_path, {"a.png": encoded(size=(100, 90)), "a.txt": b"one"})
    write(tmp_path, {"b.png": PICTURE, "b.txt": b"two"})
    captions, reasons = loaded(tmp_path, max_pixels=8999)
    assert list(captions) == ["b.png"]
    assert reasons == {"a.png": "broken picture"}
    assert not loaded(tmp_path, max_pixels=9000)[1]
    # Also where the header was not looked at before.
    pairs = load_image_text(tmp_path, 8, verify=None, max_pixels=8999)
    with pytest.warns(UserWarning, match="max_pixels=8999"):
        assert pairs.as_arrays()[1] == ["two"]


def test_augmentation_in_worker_processes_is_refused(tmp_path):
    write(tmp_path, {"a.png": PICTURE, "a.txt": b"one"})
    with pytest.raises(ValueError, match="use_multiprocessing=True"):
        load_image_text(tmp_path, 8, augment=True, use_multiprocessing=True)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"balance": "kind"}, "`balance` draws rows at random"),
        ({"max_pixels": 0}, "`max_pixels` must be"),
        ({"max_pixels": 178_956_971}, "`max_pixels` must be.* to 178956970"),
        ({"workers": "2"}, "`workers` must be.*'2'"),
        ({"workers": 2.5}, "`workers` must be.*2.5"),
        ({"max_queue_size": "x"}, "`max_queue_size` must be.*'x'"),
        ({"use_multiprocessing": 1}, "`use_multiprocessing` must be"),
        ({"worker": 2}, "takes `workers`.*{'worker': 2}"),
    ],
)
def test_arguments_are_checked_before_any_file_is_read(options, words):
    with pytest.raises(ValueError, match=words):
        load_image_text("nowhere", **options)
