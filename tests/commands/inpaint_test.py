"""`inpaint`, with files."""

import numpy as np
import pytest
from PIL import Image

import keras_muse
from keras_muse import cli
from keras_muse import samplers
from tests.helpers.drawing_commands import pixels
from tests.helpers.editing_commands import COMMON
from tests.helpers.editing_commands import OPTIONS
from tests.helpers.editing_commands import STEPS
from tests.helpers.editing_commands import check_refused
from tests.helpers.editing_commands import mask_of
from tests.helpers.tiny_muse import shared_muse

pytestmark = pytest.mark.usefixtures("picture")


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


INPAINT = ("inpaint", "in.png", "a cat", "--mask", "mask.png")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((*INPAINT, "--mask", "small.png"), "`--mask`.*16 x 16.*8 x 12"),
        ((*INPAINT, "--mask", "black.png"), "`--mask`.*`black.png`, in which"),
        ((*INPAINT, "--mask", "missing.png"), "`missing.png` must be the file"),
        ((*INPAINT, "--mask", "text.png"), "`text.png` cannot be used"),
        ((*INPAINT, "--mask", "pipe"), "`pipe` must be the file.*is none"),
        ((*INPAINT, "--mask", "."), "`.` must be the file"),
        ((*INPAINT, "--sampler", "halten"), "sampler='halten'"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments, words):
    check_refused(arguments, words)
