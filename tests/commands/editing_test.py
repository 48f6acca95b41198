"""`inpaint`, `outpaint` and `edit`, with files."""

import os
import pathlib

import numpy as np
import pytest
from PIL import Image

import keras_muse
from keras_muse import cli
from keras_muse import samplers
from keras_muse.muse.muse import Muse
from tests.helpers.tiny import tiny_images
from tests.helpers.tiny_muse import shared_muse

COMMON = ("--seed", "5", "--batch-size", "2", "--output")
OPTIONS = {"seed": 5, "batch_size": 2, "verbose": 0}
STEPS = ("--num-steps", "3")


@pytest.fixture(autouse=True)
def picture(monkeypatch, tmp_path):
    """The picture in the file `in.png`, and the model for all presets."""
    monkeypatch.setattr(
        Muse, "from_preset", lambda preset: shared_muse(cascade=False)
    )
    monkeypatch.chdir(tmp_path)
    image = tiny_images(1)[0]
    Image.fromarray(image).save("in.png")
    return image


def mask_of(rows=6, name="mask.png", size=(16, 16), mode="L"):
    mask = np.zeros(size, "bool")
    mask[-rows:] = rows > 0
    Image.fromarray(mask.astype("uint8") * 255).convert(mode).save(name)
    return mask


def pixels(path):
    return np.asarray(Image.open(path))


def test_inpaint_draws_anew_what_is_white(picture):
    mask = mask_of()
    cli.main(
        [
            *("inpaint", "in.png", "a red apple", "--mask", "mask.png"),
            *(*STEPS, "--sampler", "halton", "--negative-prompt", "blue"),
            *(*COMMON, "out.png", "--preset", "tiny"),
        ]
    )
    found = pixels("out.png")
    np.testing.assert_array_equal(found[~mask], picture[~mask])
    expected = shared_muse(cascade=False).inpaint(
        *(picture, mask, "a red apple", "blue"),
        num_steps=3,
        sampler=samplers.get("halton"),
        **OPTIONS,
    )
    np.testing.assert_array_equal(found, expected[0])
    made = keras_muse.read_parameters("out.png")
    assert made["task"] == "inpaint" and made["preset"] == "tiny"
    assert (made["image"], made["mask"]) == ("in.png", "mask.png")
    assert made["sampler"]["sampler"] == "halton" and made["seed"] == 5
    with pytest.raises(SystemExit, match="drawn by `inpaint`"):
        cli.main(["generate", "--from", "out.png", "--output", "b.png"])


def test_a_mask_may_be_painted_in_any_way(picture):
    """Grey edges, a JPEG, or white on nothing, as a layer is saved."""
    mask = mask_of()
    mask_of(name="mask.jpg", mode="RGB")
    layer = np.full((16, 16, 4), 255, "uint8")
    layer[~mask, 3] = 0
    Image.fromarray(layer).save("layer.png")
    drawn = []
    for name in ("mask.png", "mask.jpg", "layer.png"):
        arguments = ["inpaint", "in.png", "a cat", "--mask", name, *STEPS]
        cli.main([*arguments, *COMMON, f"{name}_out.png"])
        drawn.append(pixels(f"{name}_out.png"))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])


def test_outpaint_keeps_the_picture(picture):
    cli.main(
        [
            *("outpaint", "in.png", "a cat", "--padding", "3", "0", "7", "5"),
            *(*STEPS, "--guidance-scale", "2", *COMMON, "out.png"),
            *("--blend-width", "2"),
        ]
    )
    found = pixels("out.png")
    np.testing.assert_array_equal(found[3:, 7:23], picture)
    expected = shared_muse(cascade=False).outpaint(
        *(picture, "a cat"),
        padding=(3, 0, 7, 5),
        blend_width=2,
        num_steps=3,
        guidance_scale=2.0,
        **OPTIONS,
    )
    np.testing.assert_array_equal(found, expected[0])
    made = keras_muse.read_parameters("out.png")
    assert made["task"] == "outpaint" and made["padding"] == [3, 0, 7, 5]
    assert made["blend_width"] == 2


def test_edit_leads_to_several_prompts(picture):
    cli.main(
        [
            *("edit", "in.png", "a cat", "green", "--num-rounds", "4"),
            *("--mask-ratio", "0.2", *COMMON, "out/"),
        ]
    )
    expected = shared_muse(cascade=False).edit(
        *(picture, ["a cat", "green"]),
        num_rounds=4,
        mask_ratio=0.2,
        **OPTIONS,
    )
    for i, prompt in enumerate(("a cat", "green")):
        path = f"out/0000{i + 1}.png"
        np.testing.assert_array_equal(pixels(path), expected[i])
        made = keras_muse.read_parameters(path)
        assert (made["prompt"], made["seed"]) == (prompt, 5 + i)
        assert (made["num_steps"], made["guidance_scale"]) == (4, 5.0)
        sampler = samplers.get(**made["sampler"])
        assert sampler == samplers.ResamplingSampler(mask_ratio=0.2)


INPAINT = ("inpaint", "in.png", "a cat", "--mask", "mask.png")
OUTPAINT = ("outpaint", "in.png", "a cat", "--padding", "0", "0", "0", "0")
EDIT = ("edit", "in.png", "a cat")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((*INPAINT, "--mask", "small.png"), "`--mask`.*16 x 16.*8 x 12"),
        ((*INPAINT, "--mask", "black.png"), "`--mask`.*`black.png`, in which"),
        ((*INPAINT, "--mask", "missing.png"), "`missing.png` must be the file"),
        ((*INPAINT, "--mask", "text.png"), "`text.png` cannot be read"),
        ((*INPAINT, "--mask", "pipe"), "`pipe` must be the file.*is none"),
        ((*INPAINT, "--mask", "."), "`.` must be the file"),
        ((*INPAINT, "--sampler", "halten"), "sampler='halten'"),
        (("edit", "small.png", "a cat"), r"`images`.*16, 16, 3.*12, 8, 3"),
        (("edit", "missing.png", "a cat"), "`missing.png`.* does not exist"),
        ((*EDIT, "--num-rounds", "0"), "num_rounds=0"),
        ((*EDIT, "--output", "in.png"), "`--output` is there already"),
        ((*EDIT, "b"), "a directory for 2 pictures"),
        ((*OUTPAINT, "--padding", "0", "0", "0", "-1"), "`padding`"),
        ((*OUTPAINT, "--padding", "0", "0", "0", "99999"), "`padding`"),
        ((*OUTPAINT, "--num-images", "0"), "--num-images 0"),
        ((*OUTPAINT, "--blend-width", "-1"), "blend_width=-1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments, words):
    mask_of()
    mask_of(name="small.png", size=(12, 8))
    mask_of(rows=0, name="black.png")
    pathlib.Path("text.png").write_text("no picture")
    os.mkfifo("pipe")
    before = sorted(os.listdir())
    given = [*arguments[:3], "--output", "out.png", *arguments[3:]]
    if arguments[-1] == "b":
        given = [*arguments, "--output", "out.png"]
    with pytest.raises(SystemExit, match=f"keras-muse: .*{words}") as caught:
        cli.main(given)
    assert "\n" not in caught.value.code and sorted(os.listdir()) == before
