"""`edit`, with files."""

import numpy as np
import pytest

import keras_muse
from keras_muse import cli
from keras_muse import samplers
from tests.helpers.drawing_commands import pixels
from tests.helpers.editing_commands import COMMON
from tests.helpers.editing_commands import OPTIONS
from tests.helpers.editing_commands import check_refused
from tests.helpers.tiny_muse import shared_muse

pytestmark = pytest.mark.usefixtures("picture")


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


EDIT = ("edit", "in.png", "a cat")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("edit", "small.png", "a cat"), r"`images`.*16, 16, 3.*12, 8, 3"),
        (("edit", "missing.png", "a cat"), "`missing.png`.* does not exist"),
        ((*EDIT, "--num-rounds", "0"), "num_rounds=0"),
        ((*EDIT, "--output", "in.png"), "`--output` is there already"),
        ((*EDIT, "b"), "a directory for 2 pictures"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments, words):
    check_refused(arguments, words)
