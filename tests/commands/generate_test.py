"""Pictures from prompts."""

import pathlib

import numpy as np
import pytest

import keras_muse
from keras_muse import samplers
from keras_muse.muse.muse import Muse
from tests.helpers.drawing_commands import drawn
from tests.helpers.drawing_commands import generate
from tests.helpers.drawing_commands import numbered
from tests.helpers.drawing_commands import pixels
from tests.helpers.drawing_commands import said
from tests.helpers.tiny_muse import shared_muse

pytestmark = pytest.mark.usefixtures("loaded")


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
            "`--best-of` must be at least `--num-images`.*: --best-of 1, --num",
        ),
    ],
)
def test_what_cannot_be_is_said_before_it_is_drawn(arguments, words, loaded):
    with pytest.raises(SystemExit, match=words):
        generate(*arguments)
    assert loaded == []
    assert list(pathlib.Path().iterdir()) == []


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--seed", -1), "`seed` must be"),
        (("--num-steps", 0), "`num_steps` must be"),
        (("--super-res-guidance-scale", -1), "`super_res_guidance_scale`"),
        (("--batch-size", 0), "`batch_size` must be"),
        (("--temperature", 0), "`temperature` must be"),
    ],
)
def test_what_is_out_of_range_is_said_before_a_model_is_loaded(
    arguments, words, monkeypatch
):
    monkeypatch.setattr(keras_muse.Muse, "from_preset", None)
    with pytest.raises(SystemExit, match=words):
        generate("a", "--output", "a.png", *arguments)


def test_neither_prompt_nor_picture_shows_the_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        generate("--output", "a.png")
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "usage: keras-muse generate" in error and "--from" in error
