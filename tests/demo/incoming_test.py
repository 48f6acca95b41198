"""Pictures that come from anywhere."""

import numpy as np
import pytest
from PIL import Image
from PIL import PngImagePlugin

from keras_muse.demo import incoming
from keras_muse.demo import limits
from keras_muse.training import draw_grid
from keras_muse.training.sheets import save_picture
from tests.demo.gallery_test import MADE
from tests.helpers.tiny import tiny_images


def test_a_picture_of_the_size_that_is_drawn_keeps_its_pixels(tmp_path):
    (image,) = tiny_images(1)
    path = str(tmp_path / "a.png")
    save_picture(Image.fromarray(image), path, {**MADE, "seed": 3})
    np.testing.assert_array_equal(incoming.read_picture(path, (16, 16)), image)
    made, words = incoming.read_made(path)
    assert made["seed"] == 3 and words is None


def test_another_is_cut_to_the_shape(tmp_path):
    path = str(tmp_path / "a.jpg")
    Image.new("RGB", (90, 40), "red").save(path)
    assert incoming.read_picture(path, (16, 16)).shape == (16, 16, 3)
    assert incoming.read_picture(path).shape == (40, 90, 3)


def test_a_png_of_another_program_is_a_picture_without_settings(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a cat\nSteps: 20, Seed: 1")
    path = str(tmp_path / "other.png")
    Image.new("RGB", (16, 16)).save(path, pnginfo=texts)
    made, words = incoming.read_made(path)
    assert made is None and "another program" in words
    # Where the file lies on this machine is nobody's affair.
    assert "`other.png`" in words and str(tmp_path) not in words


def test_of_a_sheet_the_first_is_restored(tmp_path):
    path = str(tmp_path / "sheet.png")
    made = [{**MADE, "seed": seed} for seed in (4, 5)]
    draw_grid(tiny_images(2), path=path, parameters=made)
    found, words = incoming.read_made(path)
    assert found["seed"] == 4 and "first of 2" in words


def test_what_is_too_large_or_no_picture_is_refused(tmp_path, monkeypatch):
    path = str(tmp_path / "a.png")
    Image.new("RGB", (100, 100)).save(path)
    monkeypatch.setattr(limits, "MAX_PIXELS", 9_999)
    with pytest.raises(ValueError, match="100 x 100 pixels are more than"):
        incoming.read_picture(path, (16, 16))
    monkeypatch.setattr(limits, "MAX_BYTES", 20)
    with pytest.raises(ValueError, match="`a.png` must have at most 20 bytes"):
        incoming.read_picture(path, (16, 16))
    broken = tmp_path / "b.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="b.png"):
        incoming.read_picture(str(broken), (16, 16))
