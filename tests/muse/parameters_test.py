import inspect
import json
import re

import numpy as np
import pytest
from PIL import Image
from PIL import PngImagePlugin

import keras_muse
from keras_muse import samplers
from keras_muse.muse import parameters
from keras_muse.muse.draw_options import DrawOptions
from keras_muse.training import draw_grid
from tests.helpers.tiny_muse import shared_muse

PROMPTS = ["a red apple", "a cat", "green 🍏"]
GIVEN = {
    "num_steps": 3,
    "super_res_num_steps": 2,
    "guidance_scale": 2.5,
    "sampler": samplers.HaltonSampler(temperature=0.6),
    "super_res_sampler": samplers.ConfidenceSampler(top_k=3),
}
VALID = {
    "task": "generate",
    "prompt": "a cat",
    "seed": 7,
    "num_steps": 3,
    "guidance_scale": 2.0,
    "sampler": {"sampler": "confidence"},
    "preset": "muse_emoji",
    "version": "0.1.0",
}


def with_contents(path, contents):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("keras_muse", json.dumps(contents))
    Image.new("RGB", (4, 4)).save(path, pnginfo=texts)
    return path


def read(tmp_path, contents):
    path = with_contents(tmp_path / "a.png", contents)
    return keras_muse.read_parameters(path)


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    """A sheet, and the pictures on it."""
    path = tmp_path_factory.mktemp("sheet") / "sheet.png"
    muse, seeds = shared_muse(cascade=False), [5, 6, 2**32 - 1]
    images = muse.generate(PROMPTS, "blue", seed=seeds, verbose=0, **GIVEN)
    described = parameters.describe(
        muse,
        PROMPTS,
        "blue",
        seeds=seeds,
        preset="tiny",
        options=DrawOptions.of({}, **GIVEN),
    )
    draw_grid(images, path=path, parameters=described)
    return path, images


def test_a_sheet_keeps_those_of_each_picture(sheet):
    made = keras_muse.read_parameters(sheet[0])
    assert [one["prompt"] for one in made] == PROMPTS
    assert [one["seed"] for one in made] == [5, 6, 2**32 - 1]
    common = {k: v for k, v in made[0].items() if k not in ("prompt", "seed")}
    assert common.pop("backend") in ("jax", "tensorflow", "torch")
    sampler = common.pop("sampler")
    # None of its settings is left to a default.
    assert set(sampler) == {"sampler", *GIVEN["sampler"].get_config()}
    assert samplers.get(**sampler) == GIVEN["sampler"]
    assert common == {
        "task": "generate",
        "negative_prompt": "blue",
        "num_steps": 3,
        "guidance_scale": 2.5,
        "batch_size": 3,
        "preset": "tiny",
        "version": keras_muse.__version__,
    }


def test_they_draw_the_same_pixels_again(sheet):
    path, images = sheet
    made = keras_muse.read_parameters(path)[1]
    again = shared_muse(cascade=False).generate(
        made["prompt"],
        made["negative_prompt"],
        seed=made["seed"],
        batch_size=made["batch_size"],
        num_steps=made["num_steps"],
        guidance_scale=made["guidance_scale"],
        sampler=samplers.get(**made["sampler"]),
        verbose=0,
    )
    np.testing.assert_array_equal(again[0], images[1])


def test_each_stage_has_words_and_one_that_is_not_there_has_none():
    (made,) = parameters.describe(
        shared_muse(),
        ["a cat"],
        seeds=[3],
        preset="tiny",
        options=DrawOptions.of({}, **GIVEN),
    )
    for name in ("num_steps", "guidance_scale"):
        assert made[name] == GIVEN[name]
    assert made["super_res_num_steps"] == 2
    assert made["super_res_guidance_scale"] == 2.5
    for name in ("sampler", "super_res_sampler"):
        assert samplers.get(**made[name]) == GIVEN[name]

    (made,) = parameters.describe(
        shared_muse(cascade=False),
        ["a cat"],
        seeds=np.array([3], "uint32"),
        preset="tiny",
        options=DrawOptions.of({}),
        task="inpaint",
        mask="mask.png",
    )
    assert not any("super_res" in name for name in made)
    assert json.loads(json.dumps(made)) == made
    assert made["negative_prompt"] is None and made["mask"] == "mask.png"


def test_more_at_once_than_is_read_is_not_written():
    for rows, name in ((256, {"batch_size"}), (257, set())):
        (made,) = parameters.describe(
            shared_muse(cascade=False),
            ["a cat"],
            seeds=[3],
            preset="tiny",
            options=DrawOptions.of({}, batch_size=rows),
        )
        assert set(made) & {"batch_size"} == name


def test_what_is_unknown_is_left_out(tmp_path):
    sampler = {"sampler": "confidence", "temperature": 0.5, "argument": 3}
    more = {**VALID, "sampler": sampler, "command": "rm", "__class__": "os"}
    found = read(tmp_path, more)
    assert read(tmp_path, [more]) == [found]
    kept = samplers.get(**found.pop("sampler"))
    assert kept == samplers.ConfidenceSampler(temperature=0.5)
    assert found == {k: v for k, v in VALID.items() if k != "sampler"}
    assert read(tmp_path, []) == []


@pytest.mark.parametrize("name", parameters.NEEDED)
def test_what_is_missing_is_named(name, tmp_path):
    contents = {k: v for k, v in VALID.items() if k != name}
    with pytest.raises(ValueError, match=rf"a\.png` has no `{name}`"):
        read(tmp_path, contents)
    with pytest.raises(ValueError, match=f"no `{name}`.* of picture 1"):
        read(tmp_path, [VALID, contents])


@pytest.mark.parametrize(
    "name, value",
    [
        ("task", "delete"),
        ("task", ["generate"]),
        ("prompt", 3),
        ("prompt", ["a cat"]),
        ("prompt", "\ud83d"),
        ("negative_prompt", False),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", 1.5),
        ("seed", True),
        ("seed", 10**400),
        ("num_steps", 0),
        ("num_steps", 10**9),
        ("num_steps", "3"),
        ("super_res_num_steps", None),
        ("guidance_scale", float("nan")),
        ("guidance_scale", -1),
        ("guidance_scale", {}),
        ("super_res_guidance_scale", float("inf")),
        ("batch_size", 2**16),
        ("sampler", "confidence"),
        ("sampler", {}),
        ("sampler", {"sampler": "os.system"}),
        ("sampler", {"sampler": ["confidence"]}),
        ("sampler", {"sampler": "confidence", "temperature": 0}),
        ("sampler", {"sampler": "halton", "randomize": "yes"}),
        ("super_res_sampler", [1]),
        ("preset", 3),
        ("version", {}),
        ("padding", [1, [2]]),
        ("image", {"a": 1}),
    ],
)
def test_what_is_wrong_is_named(name, value, tmp_path):
    with pytest.raises(ValueError, match=rf"a\.png` has a wrong `{name}`"):
        read(tmp_path, {**VALID, name: value})


@pytest.mark.parametrize("contents", [3, None, "text", [3], [[]]])
def test_what_is_no_object_is_named(contents, tmp_path):
    with pytest.raises(ValueError, match=r"a\.png` must have a JSON object"):
        read(tmp_path, contents)


@pytest.mark.parametrize("path", [None, 3, b"a.png", ""])
def test_what_is_no_path_raises(path):
    with pytest.raises(ValueError, match="`path` must be.*Received"):
        keras_muse.read_parameters(path)


def test_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for documented in (keras_muse.read_parameters, parameters.describe):
        text = inspect.getdoc(documented)
        (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        exec(block, {"muse": shared_muse(cascade=False)})


def test_a_directory_may_have_a_name_that_is_no_text(tmp_path):
    (made,) = parameters.describe(
        shared_muse(cascade=False),
        ["a cat"],
        seeds=[3],
        preset="m\udcff",  # as Python has bytes that are not UTF-8
        options=DrawOptions.of({}),
    )
    assert made["preset"] == r"m\udcff"
    path = tmp_path / "cat.png"
    image = np.zeros((1, 4, 4, 3), "uint8")
    draw_grid(image, path=path, parameters={**made, "preset": "m\udcff"})
    draw_grid(image, path=path, parameters=made)
    assert keras_muse.read_parameters(path)["preset"] == r"m\udcff"
