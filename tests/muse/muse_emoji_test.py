"""`muse_emoji`, the Muse that comes with the package."""

import importlib
import json
import pathlib
import zlib

import numpy as np
import pytest
from PIL import Image

import keras_muse
from keras_muse import cli
from keras_muse import data
from keras_muse import models
from keras_muse.models.presets.architectures import BUNDLED

ROOT = pathlib.Path(keras_muse.__file__).parent

THINGS = (
    *("red heart", "blue heart", "green heart", "red apple", "pizza"),
    *("grinning face", "cat face", "tiger face", "snowman", "birthday cake"),
    *("flag: Japan", "flag: France", "sunflower", "key", "umbrella", "fire"),
)
PROMPTS = [f"{thing}, twemoji style" for thing in THINGS]


@pytest.fixture(scope="module")
def muse():
    return keras_muse.Muse.from_preset("muse_emoji")


def test_what_it_is_asked_for_it_was_trained_on(monkeypatch):
    monkeypatch.syspath_prepend(ROOT.parent / "benchmarks/assets")
    gallery = importlib.import_module("draw_gallery")
    texts = data.load_emoji(prompts="styled").texts
    assert {*PROMPTS, *gallery.TRAINED} <= set(texts)
    assert not set(gallery.UNSEEN) & set(texts)


def test_draws_what_it_is_asked_for(muse):
    # Without optimization each step takes seconds: the base alone draws these.
    small = keras_muse.Muse(
        muse.text_encoder,
        muse.base,
        muse.image_tokenizer,
        generation_defaults=muse.generation_defaults,
    )
    drawn = small.generate(PROMPTS, num_steps=4, seed=0, verbose=0)
    assert drawn.shape == (16, 128, 128, 3) and drawn.dtype == np.uint8
    scorer = models.PictureTextScorer.from_preset("emoji_scorer")
    similarity = scorer.image_embeddings(drawn) @ (
        scorer.text_embeddings(PROMPTS).T
    )
    found = np.argmax(similarity, axis=-1) == np.arange(len(PROMPTS))
    # One in sixteen is chance; it is 0.81 when this is written.
    assert found.mean() >= 0.6


def test_colors_are_those_of_the_prompt(muse):
    things = ("red heart", "green heart", "blue heart", "flag: Japan")
    drawn = muse.generate(
        [f"{thing}, twemoji style" for thing in things],
        num_steps=4,
        super_res_num_steps=2,
        seed=0,
        verbose=0,
    )
    assert drawn.shape == (4, 256, 256, 3) and drawn.dtype == np.uint8
    images = dict(zip(things, drawn, strict=True))
    for channel, thing in enumerate(things[:3]):
        image = images[thing].astype(float)
        center = image[96:160, 96:160].mean(axis=(0, 1))
        assert np.argmax(center) == channel, (thing, center)
    # A white flag with a red disc, on the white of every drawing.
    red, green, blue = images["flag: Japan"][112:144, 112:144].mean(axis=(0, 1))
    assert red > green + 80 and red > blue + 60


def test_the_command_line_draws_with_it(tmp_path, capsys):
    path = tmp_path / "apple.png"
    cli.main(
        ["generate", "a red apple", "--num-steps", "4", "--output", str(path)]
    )
    assert Image.open(path).size == (256, 256)
    assert capsys.readouterr().out.splitlines()[-1] == str(path)


def test_parts_load_by_the_same_name(muse):
    base = keras_muse.MuseBase.from_preset("muse_emoji")
    assert base.grid_size == muse.base.grid_size
    assert base.compute_dtype == "float32"


def test_an_unknown_name_is_told_the_bundled_one():
    with pytest.raises(ValueError, match="'muse_emoji'.*'muse_emojis'"):
        keras_muse.Muse.from_preset("muse_emojis")


def test_the_package_stays_below_100_megabytes():
    """As a wheel, which is compressed; no index takes a larger one."""
    size = sum(
        len(zlib.compress(file.read_bytes()))
        for file in ROOT.rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    )
    assert size < 99e6


def test_the_model_card_says_what_it_must():
    card = (pathlib.Path(BUNDLED["muse_emoji"]) / "README.md").read_text()
    for part in ("licen", "test_pair", "test_concept", "minutes", "fail"):
        assert part in card.lower(), part
    contents = json.loads(
        (pathlib.Path(BUNDLED["muse_emoji"]) / "muse.json").read_text()
    )
    assert contents["parts"]["text_encoder"]["preset"] == "all_minilm_l6_v2"
