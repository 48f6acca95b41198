"""Pictures again, from what they remember."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image
from PIL import PngImagePlugin

import keras_muse
from keras_muse import cli
from keras_muse.models import PictureTextScorer
from keras_muse.muse.muse import Muse
from keras_muse.samplers import ConfidenceSampler
from tests.helpers.drawing_commands import drawn
from tests.helpers.drawing_commands import generate
from tests.helpers.drawing_commands import numbered
from tests.helpers.drawing_commands import pixels
from tests.helpers.drawing_commands import said
from tests.helpers.tiny_muse import shared_muse

pytestmark = pytest.mark.usefixtures("loaded")


class Brightness:
    """A scorer."""

    def score(self, images, prompts):
        return images.mean(axis=(1, 2, 3))


@pytest.mark.parametrize("with_best_of", [False, True])
def test_a_picture_of_several_is_drawn_again(
    with_best_of, loaded, capsys, monkeypatch
):
    monkeypatch.setattr(
        PictureTextScorer, "from_preset", lambda name: Brightness()
    )
    given = ["a cat", "a red apple", "--num-images", 2, "--seed", 5]
    if with_best_of:
        given += ["--best-of", 3]
    generate(
        *(*given, "--output", "pictures/", "--preset", "my preset"),
        *("--temperature", "0.7", "--negative-prompt", "blue"),
    )
    if with_best_of:
        scorer = Brightness().score
        sampler = ConfidenceSampler(temperature=0.7)
        expected = drawn(
            *(["a cat", "a red apple"], "blue"),
            seed=5,
            num_images_per_prompt=2,
            best_of=3,
            scorer=scorer,
            sampler=sampler,
            super_res_sampler=sampler,
        )
        for path, image in zip(numbered(), expected, strict=True):
            np.testing.assert_array_equal(pixels(path), image)
    pathlib.Path("my preset").mkdir()
    capsys.readouterr()
    for path in numbered():
        cli.main(
            ["generate", "--from", str(path), "--output", f"2_{path.name}"]
        )
        np.testing.assert_array_equal(pixels(f"2_{path.name}"), pixels(path))
        again = keras_muse.read_parameters(f"2_{path.name}")
        assert again == keras_muse.read_parameters(path)
    words = said(capsys)
    assert words[0] == f"From {numbered()[0]}, with the preset 'my preset':"
    assert words[1].startswith("  'a cat', seed ")
    assert set(loaded) == {"my preset"}


def test_what_is_said_takes_the_place_of_what_is_remembered():
    generate("a cat", "--output", "a.png", "--seed", 3)
    common = ("--from", "a.png", "--preset", "mine", "--output")
    cli.main(["generate", *common, "b.png", "--seed", "4"])
    np.testing.assert_array_equal(pixels("b.png"), drawn("a cat", seed=4)[0])
    cli.main(["generate", "green", *common, "c.png", "--num-steps", "2"])
    expected = drawn("green", seed=3, num_steps=2)
    np.testing.assert_array_equal(pixels("c.png"), expected[0])
    cli.main(["generate", *common, "d/", "--num-images", "2"])
    expected = drawn("a cat", seed=3, num_images_per_prompt=2)
    for path, image in zip(numbered("d"), expected, strict=True):
        np.testing.assert_array_equal(pixels(path), image)


def test_the_seeds_that_are_shown_are_those_of_what_is_drawn(capsys):
    remember([VALID, {**VALID, "seed": 30}])
    common = ("generate", "--from", "a.png", "--num-images", "2", "--output")

    def shown(*arguments):
        capsys.readouterr()
        cli.main([*common, *arguments])
        return [int(x.split()[-1]) for x in said(capsys) if ", seed " in x]

    def first():
        made = [keras_muse.read_parameters(path) for path in numbered("b")]
        return [one["seed"] for one in made][::2]

    assert shown("b/") == first() == [7, 30]
    assert shown("b/", "--overwrite", "--seed", "5") == first() == [5, 7]
    with pytest.raises(SystemExit, match="`seed` must be.*seed=-1"):
        shown("c/", "--seed", "-1")
    assert capsys.readouterr().out == ""


def test_guidance_that_is_given_is_that_of_both_stages_where_one_was(
    monkeypatch,
):
    muse = shared_muse()
    monkeypatch.setattr(Muse, "from_preset", lambda preset: muse)
    steps = ("--super-res-num-steps", 1)
    own = ("--super-res-guidance-scale", 1.0)
    generate("a cat", "--output", "a.png", "--seed", 3, *steps)
    generate("a cat", "--output", "b.png", "--seed", 3, *steps, *own)

    def scales(*arguments):
        arguments = ("--preset", "mine", "--overwrite", *arguments)
        arguments += ("--output", "c.png", "--guidance-scale", 5)
        cli.main(["generate", *map(str, arguments)])
        made = keras_muse.read_parameters("c.png")
        return made["guidance_scale"], made["super_res_guidance_scale"]

    assert scales("--from", "a.png") == (5.0, 5.0)
    assert scales("--from", "b.png") == (5.0, 1.0)
    assert scales("--from", "a.png", *own) == (5.0, 1.0)
    # As a fresh command has it, of a model with a scale of its own.
    defaults = {**muse.generation_defaults, "super_res_guidance_scale": 3.0}
    monkeypatch.setattr(muse, "generation_defaults", defaults)
    assert scales("--from", "a.png") == (5.0, 3.0)


def test_all_pictures_of_a_sheet_are_drawn_again():
    generate("a cat", "a red", "--seed", 3, "--output", "pictures/")
    generate(
        "apple", "--seed", 9, "--output", "pictures/", "--sampler", "halton"
    )
    images = [pixels(path) for path in numbered()]
    made = [keras_muse.read_parameters(path) for path in numbered()]
    order = [0, 2, 1]  # what is drawn together does not come together
    keras_muse.training.draw_grid(
        np.stack(images)[order],
        path="sheet.png",
        parameters=[made[i] for i in order],
    )
    cli.main(["generate", "--from", "sheet.png", "--output", "again/"])
    for path, i in zip(numbered("again"), order, strict=True):
        np.testing.assert_array_equal(pixels(path), images[i])
    with pytest.raises(SystemExit, match="a directory for 3 pictures"):
        cli.main(["generate", "--from", "sheet.png", "--output", "b.png"])
    with pytest.raises(SystemExit, match=r"`sheet\.png`, a sheet of 3"):
        cli.main(["generate", "b", "--from", "sheet.png", "--output", "b/"])


VALID = {
    "task": "generate",
    "prompt": "a \x1b[31mcat",
    "seed": 7,
    "num_steps": 3,
    "guidance_scale": 2.0,
    "sampler": {"sampler": "confidence"},
    "preset": "muse_emoji",
    "version": "0.0.1",
    "batch_size": 2,
}


def remember(contents, path="a.png"):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("keras_muse", json.dumps(contents))
    Image.new("RGB", (4, 4)).save(path, pnginfo=texts)


@pytest.mark.parametrize(
    "preset",
    [
        *("hf://somebody/model", "kaggle://a/b/c/d", "missing", "a\0b", ""),
        *("//host/share", r"\\host\share"),
    ],
)
def test_nothing_is_fetched_because_a_picture_says_so(preset, loaded):
    remember({**VALID, "preset": preset})
    with pytest.raises(SystemExit, match=r"`a\.png` names a `preset`") as said:
        cli.main(["generate", "--from", "a.png", "--output", "b.png"])
    assert f"its `preset`, {preset!r}" in said.value.code and loaded == []
    cli.main(
        ["generate", "--from", "a.png", "--output", "b.png", "--preset", "here"]
    )
    assert loaded == ["here"]


def test_what_a_picture_says_is_shown_and_does_nothing_to_the_screen(capsys):
    long = {**VALID, "prompt": "cat " * 10**4}
    remember([VALID, long])
    with pytest.warns(UserWarning, match="1 of 2 texts were cut"):
        cli.main(["generate", "--from", "a.png", "--output", "b/"])
    words = said(capsys)
    assert words.pop(2).startswith("  'cat cat") and max(map(len, words)) < 300
    assert words[:2] == [
        "From a.png, with the preset 'muse_emoji':",
        r"  'a \x1b[31mcat', seed 7",
    ]
    assert "Drawn with the version '0.0.1'" in words[2]


@pytest.mark.parametrize(
    "contents, words",
    [
        ([], "remembers of no picture"),
        ({**VALID, "task": "inpaint"}, "drawn by `inpaint`.*its `task`"),
        ({**VALID, "seed": -1}, r"a\.png` has a wrong `seed`"),
        ([VALID, {**VALID, "preset": "b"}], r"its `preset`, \['b', 'muse"),
    ],
)
def test_what_cannot_be_drawn_again_is_said(contents, words, loaded):
    remember(contents)
    with pytest.raises(SystemExit, match=f"keras-muse: .*{words}"):
        cli.main(["generate", "--from", "a.png", "--output", "b/"])
    assert loaded == [] and not pathlib.Path("b").exists()
