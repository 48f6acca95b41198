"""The stages of a cascade, and what they have decided so far."""

import numpy as np
import pytest

import keras_muse
from keras_muse.ops import images as image_ops
from tests.helpers.tiny_muse import tiny_muse

PROMPTS = ["a red apple", "a cat"]
# One compiled shape serves nearly all tests.
OPTIONS = {"super_res_num_steps": 2, "batch_size": 2, "verbose": 0, "seed": 5}
MASK = 16


@pytest.mark.parametrize("stage, side", [("base", 4), ("super_res", 8)])
def test_preview_is_grey_where_undecided(stage, side, cascade):
    generator = np.random.default_rng(0)
    token_ids = generator.integers(0, 16, (2, side, side)).astype("int32")
    decoded = image_ops.to_pixels(cascade.image_tokenizer.decode(token_ids))
    np.testing.assert_array_equal(cascade.preview(stage, token_ids), decoded)
    token_ids[0, 1, 2] = MASK
    images = cascade.preview(stage, token_ids)
    assert images.dtype == "uint8" and images.shape == decoded.shape
    assert (images[0, 4:8, 8:12] == 128).all()
    assert (images == 128).all(axis=-1).sum() < 40  # not much else
    np.testing.assert_array_equal(images[1], decoded[1])
    token_ids[:] = MASK
    assert (cascade.preview(stage, token_ids) == 128).all()


def test_what_is_undecided_does_not_spoil_its_neighbours(cascade):
    token_ids = np.full((2, 4, 4), 7)
    whole = cascade.preview("base", token_ids)
    token_ids[:, 1:3, 1:3] = MASK
    images = cascade.preview("base", token_ids)
    assert (images[:, 4:12, 4:12] == 128).all()
    whole[:, 4:12, 4:12] = 128
    np.testing.assert_array_equal(images, whole)


def test_the_last_preview_is_the_picture(cascade):
    frames = {}

    def callback(stage, step, start, token_ids):
        frames[stage] = cascade.preview(stage, token_ids)

    images = cascade.generate(
        PROMPTS, num_steps=3, **OPTIONS, callback=callback
    )
    assert frames["base"].shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(frames["super_res"], images)


def test_preview_of_what_is_no_grid_raises(small):
    grid = np.zeros((1, 4, 4), "int32")
    with pytest.raises(
        ValueError, match="`stage`.*Received: stage='super_res'"
    ):
        small.preview("super_res", grid)
    with pytest.raises(ValueError, match=r"`token_ids`.*17"):
        small.preview("base", grid + 17)
    with pytest.raises(ValueError, match=r"`token_ids` must be of shape"):
        small.preview("base", grid[:, :2])
    with pytest.raises(ValueError, match=r"`token_ids`"):
        small.preview("base", 3)


def test_a_super_resolution_model_is_no_base():
    muse = tiny_muse()
    with pytest.raises(ValueError, match="`base` must draw from texts alone"):
        keras_muse.Muse(muse.text_encoder, muse.super_res, muse.image_tokenizer)


@pytest.mark.parametrize(
    "name", ["text_encoder", "image_tokenizer", "high_res_image_tokenizer"]
)
def test_the_name_of_a_model_is_no_model(name):
    """A string has `encode`, and bytes have `decode`."""
    muse = tiny_muse()
    parts = ("text_encoder", "base", "image_tokenizer", "super_res")
    parts = {part: getattr(muse, part) for part in parts}
    for value in ("all_minilm_l6_v2", b"vqgan"):
        words = f"`{name}` must be a model.*{value!r}"
        with pytest.raises(ValueError, match=words):
            keras_muse.Muse(**{**parts, name: value})
