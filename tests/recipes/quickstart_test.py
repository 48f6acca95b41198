"""The quick start, whole, with all its sizes made tiny."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from keras_muse import Muse
from keras_muse import data
from keras_muse import read_parameters
from keras_muse.data.emoji import BUNDLED
from keras_muse.recipes import quickstart
from keras_muse.recipes import recipe
from keras_muse.recipes import stages
from keras_muse.recipes.recipe import SHARES
from tests.helpers import small_training
from tests.helpers import tiny


@pytest.fixture(scope="module")
def tiny_sizes():
    """Some of the rows, small models, and a second of training."""
    load_emoji = data.load_emoji

    def load_few(**kwargs):
        pairs = load_emoji(**kwargs)
        return pairs.select(range(0, pairs.num_examples, 25))

    with small_training.tiny_sizes() as record:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(data, "load_emoji", load_few)
            yield record


@pytest.fixture(scope="module")
def run(tiny_sizes, tmp_path_factory):
    """One run that is killed before its last training, and one that ends."""
    output = tmp_path_factory.mktemp("quickstart") / "out"
    record = tiny_sizes
    record.kill_at = "MuseSuperRes"
    with pytest.raises(small_training.Killed):
        quickstart.quickstart(str(output), minutes=0.02)
    assert record.fitted == ["VQGANTokenizer", "MuseBase"]
    assert not (output / "preset").exists()
    record.kill_at, record.fitted = None, []
    muse = quickstart.quickstart(str(output), minutes=0.02)
    return record, output, muse


def test_killed_it_goes_on(run):
    assert run[0].fitted == ["MuseSuperRes"]
    # Tokens were made once: the tokenizer came back as it was.
    assert len(run[0].pairs) == 1


def test_a_new_base_learns_as_small_ones_learn_fastest(run):
    base, super_res = run[2].base, run[2].super_res
    assert {name: getattr(base, name) for name in stages.FASTER} == (
        stages.FASTER
    )
    assert super_res.visible_loss_weight == 0


def test_it_leaves_a_preset_and_a_sheet(run):
    _, output, muse = run
    loaded = Muse.from_preset(str(output / "preset"))
    options = {"seed": 1, "num_steps": 2, "verbose": 0}
    images = loaded.generate(["a red apple"], **options)
    assert images.shape == (1, 64, 64, 3)
    np.testing.assert_array_equal(
        images, muse.generate(["a red apple"], **options)
    )
    sheet = Image.open(output / "grid.png")
    assert min(sheet.size) > 250
    assert len(np.unique(np.asarray(sheet))) > 50
    assert not (output / "preset" / "text_encoder").exists()
    made = read_parameters(output / "grid.png")
    assert {one["preset"] for one in made} == {str(output / "preset")}
    assert all(one["prompt"] and one["seed"] >= 0 for one in made)


def test_more_minutes_leave_the_tokens_their_meaning(run):
    """A tokenizer that trains on would spoil the transformers of its tokens."""
    record, output, muse = run
    record.fitted = []
    # What either has taken is more than it was given on a slow machine.
    clocks = [output / f"work/{x}/clock.json" for x in ("tokenizer", "base")]
    spent = max(json.loads(clock.read_text())["spent"] for clock in clocks)
    minutes = (spent + 1) / SHARES[True, True]["tokenizer"] / 60
    record.kill_at = "MuseBase"
    with pytest.raises(small_training.Killed):
        quickstart.quickstart(str(output), minutes=minutes)
    assert record.fitted == [] and len(record.pairs) == 1


def test_run_again_it_trains_nothing(run):
    record, output, muse = run
    record.fitted, record.kill_at = [], None
    again = quickstart.quickstart(str(output), minutes=0.02)
    assert record.fitted == [] and len(record.pairs) == 1
    for part in ("base", "image_tokenizer", "super_res"):
        for a, b in zip(
            getattr(muse, part).weights,
            getattr(again, part).weights,
            strict=True,
        ):
            np.testing.assert_array_equal(tiny.to_numpy(a), tiny.to_numpy(b))


def test_no_test_row_is_trained_on(run):
    """By the names of the rows, against the file that ships."""
    split_of = {}
    with zipfile.ZipFile(BUNDLED) as file:
        for line in file.read("metadata.jsonl").splitlines():
            row = json.loads(line)
            split_of[row["file_name"]] = row["split"]
    assert set(split_of.values()) == {"train", "test_pair", "test_concept"}
    record = run[0]
    (pairs,) = record.pairs
    names = [row["name"] for row in pairs.rows]
    assert {split_of[name] for name in names} == {"train"}
    # And the tokenizer saw the pictures of these rows, no others.
    images, _ = pairs.resized(quickstart.LARGE).as_arrays()
    ((small, large),) = record.pictures
    np.testing.assert_array_equal(large, images)
    assert small.shape == (len(images), 32, 32, 3)
    means = images.mean((1, 2, 3)) - small.mean((1, 2, 3))
    assert np.abs(means).max() < 2


def test_held_out_pictures_are_those_of_their_split(tiny_sizes):
    seen = {}
    for split in data.emoji.SPLITS:
        pairs = quickstart.load_pictures(split)
        assert {row["split"] for row in pairs.rows} == {split}
        assert {row["style"] for row in pairs.rows} <= set(quickstart.STYLES)
        assert {row["group"] for row in pairs.rows} <= set(quickstart.GROUPS)
        images, _ = pairs.as_arrays()
        assert images.dtype == "uint8" and images.shape[1:] == (64, 64, 3)
        seen[split] = {row["name"] for row in pairs.rows}
    assert sum(map(len, seen.values())) == len(set.union(*seen.values()))


@pytest.mark.parametrize(
    "num_pictures, image_size, on_processor, views",
    [
        (60, 256, True, 16),
        (1248, 64, True, 16),
        (1248, 128, True, 4),
        (5446, 32, True, 4),
        (5446, 128, True, 1),
        (5446, 128, False, 4),
        (100_000, 64, True, 1),
    ],
)
def test_few_pictures_have_many_views(
    monkeypatch, num_pictures, image_size, on_processor, views
):
    """Seen in one view alone, they are known by heart."""
    monkeypatch.setattr(recipe, "on_processor", lambda: on_processor)
    assert recipe.num_views(num_pictures, image_size) == views
    # The first one is never mirrored.
    mirrored = recipe.num_views(num_pictures, image_size, random_flip=True)
    assert mirrored == max(2, views)
