"""`outpaint`, with files."""

import numpy as np
import pytest

import keras_muse
from keras_muse import cli
from tests.helpers.drawing_commands import pixels
from tests.helpers.editing_commands import COMMON
from tests.helpers.editing_commands import OPTIONS
from tests.helpers.editing_commands import STEPS
from tests.helpers.editing_commands import check_refused
from tests.helpers.tiny_muse import shared_muse

pytestmark = pytest.mark.usefixtures("picture")


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


OUTPAINT = ("outpaint", "in.png", "a cat", "--padding", "0", "0", "0", "0")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((*OUTPAINT, "--padding", "0", "0", "0", "-1"), "`padding`"),
        ((*OUTPAINT, "--padding", "0", "0", "0", "99999"), "`padding`"),
        ((*OUTPAINT, "--num-images", "0"), "--num-images 0"),
        ((*OUTPAINT, "--blend-width", "-1"), "blend_width=-1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments, words):
    check_refused(arguments, words)
