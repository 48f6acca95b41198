"""Which models are made of which pictures."""

import dataclasses
import types

import pytest

from keras_muse.muse.preset import load_parts
from keras_muse.recipes import choice
from keras_muse.recipes import sizes
from keras_muse.recipes.familiarity import Familiarity
from keras_muse.recipes.losses import Losses
from keras_muse.recipes.options import Options
from keras_muse.recipes.recipe import load_text_encoder

GOOD = Losses(loss=3.0, shuffled=4.0, uniform=6.0)
DEAF = Losses(loss=3.0, shuffled=3.0, uniform=6.0)


def collection(side, number):
    train = types.SimpleNamespace(num_examples=number)
    return types.SimpleNamespace(side=side, train=train, shown=train)


@pytest.fixture
def chosen(monkeypatch):
    """The choice on a machine, with a bundled model of 128 pixels."""

    def chosen(
        side, number, known=None, processor=True, quantized=False, **options
    ):
        parts = {
            "base": types.SimpleNamespace(grid_size=(16, 16)),
            "image_tokenizer": types.SimpleNamespace(downsampling_factor=8),
        }
        monkeypatch.setattr(sizes, "on_processor", lambda: processor)
        monkeypatch.setattr(
            choice,
            "load_parts",
            lambda source, names: {name: parts[name] for name in names},
        )
        monkeypatch.setattr(choice, "familiarity_of", lambda *a, **k: known)
        monkeypatch.setattr(choice, "is_quantized", lambda model: quantized)
        options = Options(**{"minutes": 30, **options})
        found = choice.choose(collection(side, number), options, None)
        return dataclasses.astuple(found)

    return chosen


def test_small_pictures(chosen):
    names = ("vqgan_f4_tiny", "muse_base_tiny", None, True)
    assert chosen(28, 6000) == (32, 32, *names)


def test_the_machine_and_its_time_count(chosen):
    far = Familiarity(0.4, None)
    tiny = (64, 64, "preset", "muse_base_tiny", None, True)
    assert chosen(200, 6000, far) == tiny
    longer = (128, 128, "preset", "muse_base_small", None, True)
    assert chosen(200, 6000, far, minutes=120) == longer
    gpu = (256, 128, "preset", "muse_base_medium", "muse_super_res_small", True)
    assert chosen(300, 6000, far, processor=False) == gpu


def test_the_bundled_model_is_asked(chosen):
    """Tokens that are good are kept; a base that knows them is gone on with."""
    knows = Familiarity(0.05, GOOD)
    assert chosen(128, 500, knows) == (128, 128, *["preset"] * 2, None, False)
    deaf = Familiarity(0.05, DEAF)
    assert chosen(128, 500, deaf) == (
        *(64, 64, "preset", "muse_base_tiny"),
        *(None, False),
    )
    # Of pictures much smaller than its own it is not asked for the base.
    assert chosen(60, 500, knows)[3] == "muse_base_tiny"
    assert chosen(128, 500, knows, from_scratch=True)[2] == "vqgan_f8_tiny"


def test_the_reason_of_a_size_is_that_of_who_chose_it(chosen, capsys):
    known = Familiarity(0.05, GOOD)
    chosen(90, 500, known)
    said = capsys.readouterr().out
    assert "Pictures of 128 pixels: those that the bundled model draws" in said
    chosen(90, 500, Familiarity(0.05, DEAF))
    said = capsys.readouterr().out
    assert "Pictures of 64 pixels: the pictures have about 90 pixels" in said
    chosen(90, 500, known, image_size=128)
    assert "Pictures of 128 pixels: as asked for" in capsys.readouterr().out


def test_what_is_fixed_stays(chosen):
    fixed = {
        "image_size": 64,
        "base_image_size": 32,
        "tokenizer": "vqgan_f4_small",
        "base": "muse_base_small",
        "super_res": "muse_super_res_tiny",
    }
    assert chosen(300, 60, **fixed) == (*fixed.values(), True)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"image_size": 50}, "`image_size` must be a multiple of 4.*48"),
        ({"image_size": 4}, "`image_size` must be.*image_size=4"),
        ({"image_size": 40, "base_image_size": 20}, "multiple of 16"),
        ({"image_size": 32, "base_image_size": 64}, "not be above"),
    ],
)
def test_sizes_without_a_grid_are_refused(chosen, options, words):
    with pytest.raises(ValueError, match=words):
        chosen(30, 60, tokenizer="vqgan_f4_tiny", **options)


def test_what_a_preset_draws_is_fine_tuned(chosen):
    expected = (128, 128, "preset", "preset", None, False)
    assert chosen(40, 3, preset="muse_emoji") == expected


def test_super_resolution_of_nothing_is_refused(chosen):
    with pytest.raises(ValueError, match="`super_res`.*both sizes 32"):
        chosen(28, 6000, super_res="muse_super_res_tiny")


def test_a_quantized_preset_is_fine_tuned_by_lora_alone(chosen):
    with pytest.raises(ValueError, match="`preset` is quantized.*`lora_rank`"):
        chosen(128, 100, preset="mine", quantized=True)
    found = chosen(128, 100, preset="mine", quantized=True, lora_rank=4)
    assert found[0] == 128


def test_the_bundled_model_reads_with_the_encoder_of_the_training():
    """So that it is in memory once while the model is tried."""
    options = Options(minutes=30)
    (bundled,) = load_parts(options.source, names=("text_encoder",)).values()
    trained = load_text_encoder(options)
    assert (bundled.preset, type(bundled)) == (trained.preset, type(trained))
