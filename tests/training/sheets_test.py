import os

import numpy as np
import pytest
from PIL import Image

from keras_muse import read_parameters
from keras_muse.training import draw_grid
from keras_muse.training import draw_sections
from keras_muse.training import sheets
from keras_muse.training.sheets import save_picture
from tests.helpers.full_disk import full_disk


def random_images(count, height=10, width=12):
    generator = np.random.default_rng(0)
    # Not near white, so that pictures can be told from the paper.
    return generator.integers(0, 200, (count, height, width, 3), "uint8")


def pasted(sheet, image):
    """Where on the sheet the image lies bit for bit, as `(top, left)`."""
    sheet = np.asarray(sheet)
    windows = np.lib.stride_tricks.sliding_window_view(sheet, image.shape)
    places = np.argwhere((windows[:, :, 0] == image).all((2, 3, 4)))
    assert len(places) == 1
    return tuple(places[0])


def test_images_lie_row_by_row_on_white():
    images = random_images(5)
    sheet = draw_grid(images, columns=3, scale=1)
    places = [pasted(sheet, image) for image in images]
    tops, lefts = zip(*places, strict=True)
    assert tops[0] == tops[1] == tops[2] < tops[3] == tops[4]
    assert lefts[0] == lefts[3] < lefts[1] == lefts[4] < lefts[2]
    assert lefts[1] - lefts[0] > 12 and tops[3] - tops[0] > 10

    paper = np.array(sheet)
    for top, left in places:
        paper[top : top + 10, left : left + 12] = 255
    assert (paper == 255).all()


def test_small_images_are_enlarged():
    images = random_images(2, 32, 32)
    assert draw_grid(images).width > 2 * 128
    assert draw_grid(images, scale=2).width < 2 * 128
    large = random_images(1, 160, 160)
    pasted(draw_grid(large), large[0])

    # Enlarged smoothly, and nothing moves: means of blocks stay.
    flat = np.full((1, 32, 32, 3), 90, "uint8")
    sheet = np.asarray(draw_grid(flat, scale=3))
    assert (sheet == 90).sum() == 96 * 96 * 3


def test_labels_lie_below_their_images():
    images = random_images(2, 40, 128)
    plain = np.asarray(draw_grid(images, scale=1))
    sheet = draw_grid(images, ["a red apple", ""], scale=1)
    top, left = pasted(sheet, images[0])
    _, second_left = pasted(sheet, images[1])
    labels = np.asarray(sheet)[top + 40 :]
    assert labels[:, left : left + 128].min() < 100
    assert labels[:, second_left:].min() == 255
    assert sheet.height > plain.shape[0]


def test_long_labels_stay_in_their_column():
    images = random_images(2, 40, 128)
    label = "unpronounceably long words " * 9 + "x" * 99
    one_line = draw_grid(images, ["a", ""], scale=1)
    sheet = draw_grid(images, [label, ""], scale=1)
    top, left = pasted(sheet, images[0])
    labels = np.asarray(sheet)[top + 40 :]
    assert labels[:, left + 128 :].min() == 255
    assert one_line.height < sheet.height < one_line.height + 20


def test_sections_have_titles_and_sizes_of_their_own():
    small, large = random_images(3), random_images(2, 30, 20)
    sheet = draw_sections(
        [("small", small, None), ("large", large, ["a", "b"])], scale=1
    )
    tops = [pasted(sheet, image)[0] for image in (*small, *large)]
    assert tops[0] == tops[1] == tops[2] and tops[3] == tops[4]
    pixels = np.asarray(sheet)
    assert pixels[: tops[0]].min() < 100  # the first title
    assert pixels[tops[0] + 10 : tops[3]].min() < 100  # the second one
    assert not pixels[-1].min() < 255


def test_writes_a_file_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "grid.png"
    sheet = draw_grid(random_images(3), path=path)
    np.testing.assert_array_equal(
        np.asarray(Image.open(path)), np.asarray(sheet)
    )
    with pytest.raises(ValueError):
        draw_grid(random_images(3), path=tmp_path / "new" / "grid.nothing")
    assert os.listdir(tmp_path / "new") == ["grid.png"]


def test_what_is_no_picture_raises():
    images = random_images(2)
    for wrong in (images / 255.0, images[0], images[..., :1], images[:0]):
        with pytest.raises(ValueError, match="`images` must be.*Received"):
            draw_grid(wrong)
    with pytest.raises(ValueError, match="Received: 1 labels for 2 images"):
        draw_grid(images, ["one"])
    with pytest.raises(ValueError, match="Received: columns=0"):
        draw_grid(images, columns=0)
    with pytest.raises(ValueError, match="Received: scale=0"):
        draw_grid(images, scale=0)
    with pytest.raises(ValueError, match=r"Received: sections=\[\]"):
        draw_sections([])


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_picture_for_a_full_disk_is_not_cut_short(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")
    picture = Image.fromarray(noise)
    with full_disk(1000), pytest.raises(OSError, match=f"large: '.*/{name}'"):
        save_picture(picture, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    save_picture(picture, tmp_path / name)
    assert Image.open(tmp_path / name).size == (64, 64)


def test_a_long_label_is_cut_where_it_no_longer_fits(monkeypatch):
    """In a few looks, however long it is."""
    looks = []
    length_of = type(sheets._font(12)).getlength
    monkeypatch.setattr(
        type(sheets._font(12)),
        "getlength",
        lambda font, text: looks.append(text) or length_of(font, text),
    )
    font = sheets._font(12)
    for label in ("w" * 100_000, "a word " * 50_000):
        looks.clear()
        lines = sheets._wrapped(label, 128)
        assert len(looks) < 100
        cut = lines[-1].removesuffix("...")
        assert cut != lines[-1] and cut.rstrip() == cut
        assert length_of(font, lines[-1]) <= 128
        assert length_of(font, f"{cut}wi...") > 128
    assert sheets._cut("wide", 1) == "..."


@pytest.mark.parametrize(
    "path", ["grid", "grid.xyz", "grid.mpg", "grid.h5", "grid.xbm", 5]
)
def test_a_name_of_no_format_is_refused_before_anything_is_drawn(
    path, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sheets, "_draw_section", None)
    with pytest.raises(ValueError, match="`path` must"):
        draw_grid(random_images(1), path=path)


@pytest.mark.parametrize("section", [("a", []), 5, (5, random_images(1), None)])
def test_a_section_that_is_none_is_named(section):
    with pytest.raises(ValueError, match="A section must be a title"):
        draw_sections([section])


@pytest.mark.parametrize("sections", [None, 5])
def test_what_is_no_list_of_sections_is_named(sections):
    with pytest.raises(ValueError, match=f"Received: sections={sections}"):
        draw_sections(sections)


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("num_parameters", [1, 3])
def test_each_image_has_its_parameters(num_parameters, kind):
    with pytest.raises(ValueError, match="`parameters` must be one per image"):
        draw_grid(random_images(2), parameters=kind([{}] * num_parameters))


def test_parameters_may_be_a_tuple(tmp_path):
    made = {
        "task": "generate", "prompt": "a red apple", "seed": 7,
        "num_steps": 8, "guidance_scale": 2.0,
        "sampler": {"sampler": "confidence"},
        "preset": "muse_emoji", "version": "0.1.0",
    }  # fmt: skip
    path = tmp_path / "a.png"
    draw_grid(random_images(2), path=path, parameters=(made, made))
    assert [one["seed"] for one in read_parameters(path)] == [7, 7]


def test_sections_may_come_one_by_one():
    sections = [("a", random_images(1), None)]
    sheet = draw_sections(section for section in sections)
    assert sheet.size == draw_sections(sections).size
