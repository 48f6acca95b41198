"""A preset that is fine-tuned by ten pictures, whole, at tiny sizes.

The training of new models, and the end of one that was killed, is tested by
the quick start.
"""

import contextlib
import importlib
import io
import json
import re
import shlex
import types

import numpy as np
import pytest

import keras_muse
from keras_muse import cli
from keras_muse.data.token_shards.read import read_token_shards
from keras_muse.files.whole import claimed
from keras_muse.recipes import recipe
from keras_muse.recipes.card import card_of
from keras_muse.recipes.collection import FEWEST
from keras_muse.recipes.work import LEFT
from tests.helpers import small_training
from tests.helpers.tiny import tiny_data
from tests.helpers.tiny import to_numpy
from tests.helpers.tiny_muse import tiny_muse
from tests.helpers.tiny_muse import tiny_text_encoder
from tests.recipes.collection_test import write_pictures


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    here = tmp_path_factory.mktemp("fine_tuning")
    encoder = tiny_text_encoder(max_sequence_length=16, sequence_length=16)
    given = tiny_muse(text_encoder=encoder)
    given.save_to_preset(str(here / "given"))
    pictures = write_pictures(here / "pictures", 10, size=(16, 16))
    said = io.StringIO()
    with small_training.tiny_sizes() as record:
        with contextlib.redirect_stdout(said):
            muse = keras_muse.train(pictures, here / "out", **options_in(here))
    record.said = said.getvalue()
    return here, record, muse


def options_in(here, **changes):
    options = {
        "preset": str(here / "given"),
        "lora_rank": 2,
        "style": "ink",
        "minutes": 0.05,
    }
    return {**options, **changes}


def test_the_base_alone_is_trained(run):
    here, record, muse = run
    assert record.fitted == ["MuseBase"] and len(record.pairs) == 1
    assert muse.base.visible_loss_weight == 0  # it was trained without
    # All that is there is known to be of a training.
    assert {x.name for x in (here / "out").iterdir()} == {"work", *LEFT} - {
        "scores"  # of so few pictures none is held out
    }
    given = keras_muse.Muse.from_preset(str(here / "given"))
    for part in ("image_tokenizer", "super_res"):
        for a, b in zip(
            getattr(given, part).weights,
            getattr(muse, part).weights,
            strict=True,
        ):
            np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def test_what_was_learned_is_in_the_preset_and_in_a_file(run):
    here, _, muse = run
    data = tiny_data(muse.base, 4)
    given = keras_muse.MuseBase.from_preset(str(here / "given"))
    before = to_numpy(given(data))
    after = to_numpy(muse.base(data))
    assert np.abs(after - before).max() > 1e-3
    saved = keras_muse.MuseBase.from_preset(str(here / "out" / "preset"))
    np.testing.assert_allclose(to_numpy(saved(data)), after, atol=1e-4)
    given.load_lora_weights(here / "out" / "base.lora.h5")
    np.testing.assert_allclose(to_numpy(given(data)), after, atol=1e-4)


def test_of_a_quantized_model_is_drawn_what_is_saved(tmp_path, monkeypatch):
    """Merged into integers, the additions are not quite what was trained."""
    encoder = tiny_text_encoder(max_sequence_length=16, sequence_length=16)
    given = tiny_muse(cascade=False, text_encoder=encoder)
    given.base.quantize("int8")
    given.save_to_preset(str(tmp_path / "given"))
    pictures = write_pictures(tmp_path / "pictures", 10, size=(16, 16))
    drawn = []
    monkeypatch.setattr(
        recipe.drawings, "draw_sheet", lambda muse, *_: drawn.append(muse)
    )
    options = options_in(tmp_path, style=None)
    with small_training.tiny_sizes():
        muse = keras_muse.train(pictures, tmp_path / "out", **options)
    saved = keras_muse.MuseBase.from_preset(str(tmp_path / "out" / "preset"))
    data = tiny_data(saved, 4)
    expected = to_numpy(saved(data))
    assert np.abs(expected - to_numpy(given.base(data))).max() > 1e-3
    assert drawn == [muse]
    np.testing.assert_array_equal(to_numpy(muse.base(data)), expected)


def test_few_pictures_make_an_epoch_of_many_steps(run):
    """Ten pictures in batches of eight would be one step, and two rows lost."""
    here, record, _ = run
    ((pairs,),) = [record.pairs]
    assert all(t.endswith(", ink style") for t in pairs.texts)
    tokens = str(here / "out" / "work" / "tokens")
    shards = read_token_shards(tokens, 8, steps_per_epoch=100)
    assert shards.num_records == 10 and len(shards) == 100


def test_another_style_is_not_taken_for_other_pictures(run):
    here, _, _ = run
    options = options_in(here, style="oil")
    with pytest.raises(ValueError, match="begun with other style$"):
        keras_muse.train(here / "pictures", here / "out", **options)


def test_what_is_damaged_or_at_work_is_refused(run):
    here, _, _ = run
    path = here / "out" / "work" / "sizes.json"
    whole = path.read_text()

    def again():
        keras_muse.train(here / "pictures", here / "out", **options_in(here))

    sizes = json.loads(whole)
    for damaged in ({}, {**sizes, "base": 3}, {**sizes, "of_later": 3}):
        path.write_text(json.dumps(damaged))
        with pytest.raises(ValueError, match=re.escape(str(path))):
            again()
    path.write_text(whole)
    with claimed(path.parent):
        with pytest.raises(ValueError, match="`output` is being written"):
            again()


def test_of_two_that_start_at_once_one_chooses(tmp_path, monkeypatch):
    pictures = write_pictures(tmp_path / "pictures", FEWEST)
    module = importlib.import_module("keras_muse.recipes.train")

    def choose(*args):
        with pytest.raises(ValueError, match="`output` is being written"):
            keras_muse.train(pictures, tmp_path / "out")
        raise ZeroDivisionError

    monkeypatch.setattr(module, "choose", choose)
    with pytest.raises(ZeroDivisionError):
        keras_muse.train(pictures, tmp_path / "out")
    assert not (tmp_path / "out").exists()  # what failed has begun nothing


def test_a_place_that_cannot_be_written_is_named_first(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="file/out"):
        keras_muse.train(tmp_path / "no pictures", tmp_path / "file/out")


def test_the_card_says_what_it_is_made_of(run):
    here, record, _ = run
    card = (here / "out" / "preset" / "README.md").read_text()
    for words in (
        "pipeline_tag: text-to-image",
        "10 pictures with 10 different captions, all of them trained on",
        f"of `{here / 'given'}`",
        "Draws at 32 by 32 pixels",  # with the super-resolution of the preset
        "rank 2",
        ", ink style",
        "| base | weights |",
    ):
        assert words in card
    # A later start knows its own alone.
    assert "| base | steps |" not in card and " steps; " not in record.said


@pytest.mark.parametrize(
    "texts, prompt",
    [
        (["a wall", "cat"], "cat"),
        (['it\'s a "cat"; $(id) `id` \\'], 'it\'s a "cat"; $(id) `id` \\'),
        (["-rf", "--help", "a\tb", "a dog"], "a dog"),
        (["-rf", "x\0y"], "a picture"),
    ],
)
def test_the_command_of_the_card_runs_as_it_is(texts, prompt, monkeypatch):
    recipe = types.SimpleNamespace(
        collection=types.SimpleNamespace(
            train=types.SimpleNamespace(num_examples=2, texts=texts),
            held_out=None,
        ),
        sizes=types.SimpleNamespace(tokenizer=None, base=None, super_res=None),
        options=types.SimpleNamespace(source="a", lora_rank=None, style=None),
        results={},
    )
    line = card_of(recipe, (8, 8)).split("```\n")[1]
    name, *arguments = shlex.split(line)
    seen = []
    monkeypatch.setattr(cli, "_run", seen.append)
    cli.main(arguments)
    assert name == "keras-muse" and seen[0].prompts == [prompt]
