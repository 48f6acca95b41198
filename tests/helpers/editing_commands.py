"""What the tests of the commands that draw on a picture share."""

import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from keras_muse import cli

COMMON = ("--seed", "5", "--batch-size", "2", "--output")
OPTIONS = {"seed": 5, "batch_size": 2, "verbose": 0}
STEPS = ("--num-steps", "3")


def mask_of(rows=6, name="mask.png", size=(16, 16), mode="L"):
    mask = np.zeros(size, "bool")
    mask[-rows:] = rows > 0
    Image.fromarray(mask.astype("uint8") * 255).convert(mode).save(name)
    return mask


def check_refused(arguments, words):
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
