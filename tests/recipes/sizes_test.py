"""Sizes and names that suit pictures, time and machine."""

import importlib.util

import keras
import pytest

from keras_muse.models.presets.architectures import ARCHITECTURES
from keras_muse.recipes import sizes


@pytest.fixture(params=[True, False], ids=["processor", "accelerator"])
def processor(request, monkeypatch):
    monkeypatch.setattr(sizes, "on_processor", lambda: request.param)
    return request.param


@pytest.mark.parametrize(
    "side, expected", [(20, 32), (47, 32), (48, 64), (96, 128), (4000, 256)]
)
def test_pictures_keep_about_their_size(processor, side, expected):
    for minutes, most in ((10, 64), (500, 128)):
        size, why = sizes.natural_size(side, minutes)
        assert size == (min(expected, most) if processor else expected)
        assert f"about {side} pixels" in why
        # What the machine has taken is told.
        assert ("processor" in why) == (size < expected)


@pytest.mark.parametrize(
    "size, base", [(32, 32), (128, 128), (256, 128), (512, 128), (200, 100)]
)
def test_large_pictures_have_two_stages(size, base):
    assert sizes.base_size_of(size) == base
    assert sizes.base_size_of(129) == 129  # no half of it


def test_each_name_is_that_of_an_architecture(processor):
    for minutes in (5, 100):
        for size in (32, 64, 256):
            name, _ = sizes.tokenizer_name(size, minutes)
            kind, config = ARCHITECTURES[name]
            assert kind == "VQGANTokenizer"
            factor = 2 ** (len(config["channel_multipliers"]) - 1)
            assert factor == (4 if size < 64 else 8)
        for pictures in (100, 10**5):
            name, why = sizes.base_name(64, pictures, minutes)
            assert ARCHITECTURES[name][0] == "MuseBase"
            assert why.startswith(f"{pictures} pictures of 64 tokens")
            # The machine's minutes count on a processor only.
            assert ("minutes" in why) == processor
    assert ARCHITECTURES[sizes.super_res_name()[0]][0] == "MuseSuperRes"


def test_few_pictures_make_a_smaller_base(processor):
    def width(num_pictures):
        name, _ = sizes.base_name(256, num_pictures, 100)
        return ARCHITECTURES[name][1]["hidden_dim"]

    assert width(sizes.FEW - 1) < width(sizes.FEW)


def test_names_are_those_of_their_class():
    for name in (None, "vqgan_f8_small"):
        sizes.check_name(name, "tokenizer", "VQGANTokenizer")
    with pytest.raises(ValueError, match="`base`.*base='vqgan_f8_small'"):
        sizes.check_name("vqgan_f8_small", "base", "MuseBase")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((50, 50, 4), "`image_size` must be a multiple of 4.*48.*=50"),
        ((4, 4, 4), "`image_size`.*at least 8.*such as 8.*=4"),
        ((8, 8, 8), "`image_size`.*at least 16.*such as 16.*=8"),
        ((64, 4, 4, 4), "`base_image_size`.*such as 8.*=4"),
        ((64, 20, 8), "`base_image_size` must be a multiple of 8"),
        # Blocks count at two stages only.
        ((40, 20, 4, 4), "`image_size` must be a multiple of 16"),
        ((32, 64, 4), "`base_image_size` must not be above"),
        ((0, 32, 4), "image_size=0"),
    ],
)
def test_sizes_without_a_grid_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        sizes.check_image_sizes(*arguments)


def test_sizes_with_a_grid_pass():
    sizes.check_image_sizes(8, 8, 4)
    sizes.check_image_sizes(40, 40, 4, 4)
    sizes.check_image_sizes(64, 32, 4, 4)


def test_tensorflow_is_faster_than_jax_on_a_processor(processor):
    is_jax = keras.config.backend() == "jax"
    is_there = importlib.util.find_spec("tensorflow") is not None
    expected = "tensorflow" if processor and is_jax and is_there else None
    assert sizes.faster_backend() == expected
