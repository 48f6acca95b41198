"""Pictures from prompts, and again from what they remember."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image
from PIL import PngImagePlugin

import keras_muse
from keras_muse import cli
from keras_muse import samplers
from keras_muse.models import PictureTextScorer
from keras_muse.muse.muse import Muse
from keras_muse.samplers import ConfidenceSampler
from tests.helpers import interrupts
from tests.helpers.tiny_muse import shared_muse

# One compiled shape serves all tests.
STEPS = ("--num-steps", "3", "--batch-size", "2")


@pytest.fixture(autouse=True)
def loaded(monkeypatch, tmp_path):
    """What was loaded; all presets are one model, which is compiled once."""
    names = []

    def from_preset(preset):
        names.append(preset)
        return shared_muse(cascade=False)

    monkeypatch.setattr(Muse, "from_preset", from_preset)
    monkeypatch.chdir(tmp_path)
    return names


def generate(*arguments):
    cli.main(["generate", *STEPS, *map(str, arguments)])


def said(capsys):
    return capsys.readouterr().out.splitlines()


def pixels(path):
    return np.asarray(Image.open(path))


def drawn(prompts, negative_prompts=None, **options):
    common = {"num_steps": 3, "batch_size": 2, "verbose": 0}
    return shared_muse(cascade=False).generate(
        prompts, negative_prompts, **{**common, **options}
    )


def numbered(directory="pictures"):
    return sorted(pathlib.Path(directory).iterdir())


# === Prompts ===


def test_several_prompts_go_into_a_directory(capsys):
    given = ("a cat", "a red apple", "--num-images", 2, "--seed", 5)
    generate(*given, "--output", "pictures/", "--negative-prompt", "blue")
    expected = drawn(
        ["a cat", "a red apple"], "blue", seed=5, num_images_per_prompt=2
    )
    assert [x.name for x in numbered()] == [f"0000{i}.png" for i in range(1, 5)]
    for path, image in zip(numbered(), expected, strict=True):
        np.testing.assert_array_equal(pixels(path), image)
    assert said(capsys)[-4:] == [f"pictures/0000{i}.png" for i in range(1, 5)]
    made = [keras_muse.read_parameters(path) for path in numbered()]
    assert [x["prompt"] for x in made] == ["a cat"] * 2 + ["a red apple"] * 2
    assert [x["seed"] for x in made] == [5, 6, 7, 8]
    assert {x["negative_prompt"] for x in made} == {"blue"}


def test_each_stage_has_its_own_options_which_may_come_first(monkeypatch):
    monkeypatch.setattr(Muse, "from_preset", lambda preset: shared_muse())
    generate(
        *("--output", "a.png", "--seed", 3, "--super-res-num-steps", 2),
        *("--guidance-scale", 5, "--super-res-guidance-scale", 1),
        *("--sampler", "halton", "a cat"),
    )
    sampler = samplers.get("halton")
    expected = shared_muse().generate(
        "a cat",
        seed=3,
        num_steps=3,
        super_res_num_steps=2,
        guidance_scale=5.0,
        super_res_guidance_scale=1.0,
        sampler=sampler,
        super_res_sampler=sampler,
        batch_size=2,
        verbose=0,
    )
    np.testing.assert_array_equal(pixels("a.png"), expected[0])


def test_without_a_seed_one_is_drawn_and_printed(capsys):
    generate("a cat", "--output", "a.png")
    generate("a cat", "--output", "b.png")
    seeds = [int(x[5:]) for x in said(capsys) if x.startswith("seed=")]
    assert len(set(seeds)) == 2
    for name, seed in zip(("a.png", "b.png"), seeds, strict=True):
        assert keras_muse.read_parameters(name)["seed"] == seed
        np.testing.assert_array_equal(
            pixels(name), drawn("a cat", seed=seed)[0]
        )


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


# === What is there ===


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


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("a", "b", "--output", "a.png"), "a directory for 2 pictures"),
        (
            ("a", "--num-images", 3, "--output", "a.png"),
            "a directory for 3 pictures.*Received: --output a.png",
        ),
        (("a", "--num-images", 0, "--output", "a.png"), "--num-images 0"),
        (("a", "--output", "pictures"), "ends in /.*--output pictures"),
        (
            ("a", "--num-images", 2, "--best-of", 1, "--output", "p/"),
            "`best_of` must be at least",
        ),
    ],
)
def test_what_cannot_be_is_said_before_it_is_drawn(arguments, words):
    with pytest.raises(SystemExit, match=words):
        generate(*arguments)
    assert list(pathlib.Path().iterdir()) == []


@pytest.mark.parametrize("output", ["a.png", "pictures/"])
def test_control_c_leaves_nothing_half_written(output, monkeypatch, capsys):
    save, saved = Image.Image.save, []
    num_images = 2 if output == "pictures/" else 1

    def interrupted(picture, file, **options):
        save(picture, file, **options)
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


# === Again ===


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


def test_neither_prompt_nor_picture_shows_the_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        generate("--output", "a.png")
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "usage: keras-muse generate" in error and "--from" in error
