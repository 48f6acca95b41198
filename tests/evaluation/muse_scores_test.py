import dataclasses

import numpy as np
import pytest

import keras_muse
from keras_muse import data
from keras_muse import metrics
from keras_muse.data.decoding import decode
from keras_muse.evaluation import evaluate
from tests.helpers.colors import PROTOCOL
from tests.helpers.colors import Colors
from tests.helpers.colors import mean_colors
from tests.helpers.tiny_muse import shared_muse

# The tiny language model takes few words.
pytestmark = pytest.mark.filterwarnings("ignore:.*texts were cut")

OPTIONS = {"num_steps": 2, "super_res_num_steps": 1, "verbose": 0}


@pytest.fixture(scope="module")
def pairs():
    pairs = data.load_emoji(
        image_size=24, split="test_pair", prompts="styled", shuffle=False
    )
    return pairs.select(range(7))


@pytest.fixture(scope="module")
def muse():
    return shared_muse()


def test_scores_are_those_of_the_drawn_pictures(muse, pairs):
    (row,) = evaluate(*(muse, pairs, PROTOCOL), seed=5, batch_size=4, **OPTIONS)
    images, texts = pairs.as_arrays()
    drawn = muse.generate(texts, seed=5, batch_size=4, **OPTIONS)
    at_size = np.stack([decode(image, (24, 24)) for image in drawn])
    distance = metrics.FrechetDistance(mean_colors)
    distance.update_state(images, at_size)
    psnr = metrics.PSNR()
    psnr.update_state(images, at_size)
    precision = metrics.RPrecision(Colors(), num_candidates=3)
    precision.update_state(at_size, texts)
    for metric in (distance, psnr, precision):
        assert row[metric.name] == pytest.approx(metric.result(), rel=1e-6)
    assert row["num_pictures"] == 7 and row["image_size"] == 24
    np.testing.assert_array_equal(row["shown"]["images"], drawn)
    assert row["shown"]["texts"] == texts
    made = row["shown"]["parameters"]
    assert [one["prompt"] for one in made] == texts
    assert [one["seed"] for one in made] == list(range(5, 12))
    assert {one["num_steps"] for one in made} == {2}


def test_every_setting_is_a_row_of_its_own(muse, pairs):
    options = {**OPTIONS, "num_steps": [1, 2]}
    rows = evaluate(muse, pairs, PROTOCOL, guidance_scale=[1.0, 4.0], **options)
    settings = [(row["guidance_scale"], row["num_steps"]) for row in rows]
    assert settings == [(1.0, 1), (1.0, 2), (4.0, 1), (4.0, 2)]
    assert len({row["frechet_distance"] for row in rows}) == 4
    # What came before leaves nothing behind.
    (alone,) = evaluate(muse, pairs, PROTOCOL, guidance_scale=4.0, **OPTIONS)
    assert alone["frechet_distance"] == pytest.approx(
        rows[3]["frechet_distance"], rel=1e-6
    )


def test_seeds_are_settings_too(muse, pairs):
    rows = evaluate(muse, pairs, PROTOCOL, seed=[5, 100], **OPTIONS)
    assert [row["seed"] for row in rows] == [5, 100]
    (alone,) = evaluate(muse, pairs, PROTOCOL, seed=100, **OPTIONS)
    np.testing.assert_array_equal(
        rows[1]["shown"]["images"], alone["shown"]["images"]
    )
    assert rows[0]["psnr"] != rows[1]["psnr"]


def test_settings_may_be_arrays_and_pictures_no_squares(muse, pairs):
    rows = evaluate(
        *(muse, pairs.resized((16, 24)), PROTOCOL),
        guidance_scale=np.array([1.0, 2.0], "float32"),
        seed=range(0, 200, 100),
        **{**OPTIONS, "num_steps": 1},
    )
    settings = [(row["guidance_scale"], row["seed"]) for row in rows]
    assert settings == [(1.0, 0), (1.0, 100), (2.0, 0), (2.0, 100)]
    assert {row["image_size"] for row in rows} == {(16, 24)}


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_steps": [1, 0]}, "`num_steps`.*num_steps=0"),
        ({"guidance_scale": [1.0, np.nan]}, "`guidance_scale`.*nan"),
        ({"super_res_num_steps": 0}, "`super_res_num_steps`.*=0"),
        ({"sampler": "nope"}, "`sampler`.*'nope'"),
        ({"batch_size": 0}, "`batch_size`.*batch_size=0"),
        ({"seed": [0, -1]}, "`seed`.*seed=-1"),
        ({"best_of": 0, "scorer": print}, "`best_of`.*best_of=0"),
        ({"best_of": 2}, "`best_of` and `scorer` go together"),
        ({"scorer": print}, "`best_of` and `scorer` go together"),
        ({"seed": []}, "`seed` must not be empty"),
        ({"guidance_scale": ()}, "`guidance_scale` must not be empty"),
        ({"verbose": "x"}, "`verbose`"),
        ({"seed": [0, 2**32 - 6]}, "`seed`.*seed=4294967290"),
        ({"seed": [3, 0, 3]}, r"`seed`.*duplicates: the spread.*\[3, 0, 3\]"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_drawn(
    pairs, options, words, monkeypatch
):
    muse = shared_muse(cascade=False)
    monkeypatch.setattr(type(muse), "generate", None)
    with pytest.raises(ValueError, match=words):
        evaluate(muse, pairs, PROTOCOL, **{**OPTIONS, **options})


def test_the_best_of_candidates_is_scored(muse, pairs):
    def brightness(images, prompts):
        return images.mean(axis=(1, 2, 3))

    options = {**OPTIONS, "batch_size": 4, "seed": 3}
    (row,) = evaluate(
        *(muse, pairs, PROTOCOL), best_of=2, scorer=brightness, **options
    )
    _, texts = pairs.as_arrays()
    best = muse.generate(texts, best_of=2, scorer=brightness, **options)
    np.testing.assert_array_equal(row["shown"]["images"], best)
    # Nobody could draw it again from the seed of a candidate.
    assert "parameters" not in row["shown"]


def test_a_broken_picture_is_left_out(muse, pairs):
    """As if the file had been truncated after its header."""
    broken = pairs.select(range(7))
    broken._rows[2] = dataclasses.replace(
        broken._rows[2], read=lambda: b"no picture"
    )
    whole = pairs.select([0, 1, 3, 4, 5, 6])
    with pytest.warns(UserWarning, match=pairs.rows[2]["name"]):
        (row,) = evaluate(muse, broken, PROTOCOL, seed=5, **OPTIONS)
    (expected,) = evaluate(muse, whole, PROTOCOL, seed=5, **OPTIONS)
    assert row["num_pictures"] == 6
    assert row["shown"]["texts"] == whole.texts
    for name in ("frechet_distance", "psnr", "r_precision"):
        assert row[name] == pytest.approx(expected[name], rel=1e-6)


def test_more_prompts_than_rows_raise(muse, pairs):
    protocol = dataclasses.replace(PROTOCOL, num_prompts=8)
    with pytest.raises(ValueError, match="8 rows .* Received: 7 rows"):
        evaluate(muse, pairs, protocol)
    (row,) = evaluate(
        muse, pairs, dataclasses.replace(PROTOCOL, num_prompts=3), **OPTIONS
    )
    assert row["num_pictures"] == 3


def test_a_metric_without_a_value_is_left_out(muse, pairs, capsys):
    (row,) = evaluate(muse, pairs.select(range(2)), PROTOCOL, **OPTIONS)
    assert "r_precision" not in row and row["frechet_distance"] > 0
    assert "r_precision is left out: it needs 3" in capsys.readouterr().out


def test_the_ceiling_and_copies_stand_beside(muse, pairs):
    (row,) = evaluate(
        *(muse, pairs, PROTOCOL), training_pairs=pairs, seed=5, **OPTIONS
    )
    assert set(row["true"]) == {
        "r_precision",
        "nearest_distance",
        "nearer_than_true",
    }
    # What was trained on has no distance; the drawings are no copies of it.
    assert row["true"]["nearest_distance"] == pytest.approx(0, abs=1e-5)
    assert row["nearest_distance"] > 0.1 and row["nearer_than_true"] == 0
    near = row["nearest"]
    assert near["drawn"].shape == near["images"].shape == (7, 24, 24, 3)
    assert near["distances"] == sorted(near["distances"])
    assert set(near["texts"]) <= set(pairs.texts)
    _, texts = pairs.as_arrays()
    assert sorted(near["prompts"]) == sorted(texts)


def test_a_sampler_of_ones_own_has_no_name_to_be_remembered(muse, pairs):
    class Mine(keras_muse.ConfidenceSampler):
        pass

    options = {**OPTIONS, "sampler": Mine(temperature=0.5)}
    (row,) = evaluate(*(muse, pairs, PROTOCOL), batch_size=4, **options)
    assert "parameters" not in row["shown"]
    _, texts = pairs.as_arrays()
    drawn = muse.generate(texts, seed=0, batch_size=4, **options)
    np.testing.assert_array_equal(row["shown"]["images"], drawn)


def test_what_is_no_protocol_and_what_are_no_pairs_are_named(muse, pairs):
    with pytest.raises(ValueError, match="`protocol` must be.*'emoji'"):
        evaluate(muse, pairs, "emoji")
    with pytest.raises(ValueError, match="`pairs` must be captioned"):
        evaluate(muse, np.zeros((4, 8, 8, 3), "uint8"), PROTOCOL)
    none = pairs.select([])
    with pytest.raises(ValueError, match="`pairs` must .*<.* of 0 pictures"):
        evaluate(muse, none, PROTOCOL)
    for training_pairs in (none, "pictures"):
        with pytest.raises(ValueError, match="`training_pairs` must be capt"):
            evaluate(muse, pairs, PROTOCOL, training_pairs=training_pairs)
    for name in ("image_size", "num_prompts"):
        with pytest.raises(ValueError, match=f"`{name}`"):
            dataclasses.replace(PROTOCOL, **{name: 0})


@pytest.mark.parametrize(
    "twice", [{"guidance_scale": [2, 2.0]}, {"num_steps": [2, 3, 2]}]
)
def test_no_setting_is_drawn_twice(muse, pairs, twice):
    (name,) = twice
    # No word of seeds: there is one.
    with pytest.raises(ValueError, match=f"`{name}` .* duplicates. Received"):
        evaluate(muse, pairs, PROTOCOL, **{**OPTIONS, **twice})


def test_scores_are_printed_as_they_come(muse, pairs, capsys):
    options = {**OPTIONS, "verbose": 1}
    (row,) = evaluate(muse, pairs, PROTOCOL, seed=1, **options)
    lines = capsys.readouterr().out.splitlines()
    printed = dict(word.split("=") for word in lines[-1].split(", "))
    assert {"psnr", "frechet_distance", "seconds_per_picture"} <= set(printed)
    for name, value in printed.items():
        assert float(value) == pytest.approx(row[name], rel=1e-3)


def test_seeds_are_shown_whole(muse, pairs, capsys):
    options = {**OPTIONS, "verbose": 1, "seed": 123456789}
    evaluate(muse, pairs, PROTOCOL, **options)
    assert "seed=123456789" in capsys.readouterr().out
