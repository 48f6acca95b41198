"""`keras-muse generate`, and what the same model draws without it."""

import pathlib

import numpy as np
from PIL import Image

from keras_muse import cli
from tests.helpers.tiny_muse import shared_muse

# One compiled shape serves all tests.
STEPS = ("--num-steps", "3", "--batch-size", "2")


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
