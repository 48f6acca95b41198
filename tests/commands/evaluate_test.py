"""`keras-muse evaluate` on the bundled drawings, with a tiny model."""

import argparse
import dataclasses
import json
import os
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

from keras_muse import ConfidenceSampler
from keras_muse import cli
from keras_muse import data
from keras_muse import metrics
from keras_muse import read_parameters
from keras_muse.commands import evaluate as command
from keras_muse.data.emoji import BUNDLED
from keras_muse.evaluation import muse_scores
from keras_muse.evaluation import protocols
from keras_muse.evaluation.scores import Scores
from tests.helpers.colors import PROTOCOL as CHEAP
from tests.helpers.colors import Colors
from tests.helpers.tiny import tiny_images
from tests.helpers.tiny_muse import shared_muse

# The tiny language model takes few words.
pytestmark = pytest.mark.filterwarnings("ignore:.*texts were cut")

# What the curve is drawn of, by cheap means.
PROTOCOL = dataclasses.replace(
    CHEAP,
    feature_metrics=lambda: [metrics.KernelDistance()],
    text_metrics=lambda: [metrics.RPrecision(Colors(), num_candidates=3)],
)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("preset") / "muse"
    shared_muse().save_to_preset(str(directory))
    return str(directory)


def evaluate(preset, output, *options):
    cli.main(["evaluate", preset, "--output", str(output), *options])


def test_writes_the_report_of_both_splits(
    preset, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(protocols.PROTOCOLS, "emoji", PROTOCOL)
    output = tmp_path / "report"
    evaluate(
        *(preset, output, "--num-prompts", "20", "--num-steps", "1", "2"),
        *("--super-res-num-steps", "1", "--guidance-scale", "2"),
    )
    names = {file.name for file in output.iterdir()}
    assert names == {"scores.json", "scores.md", "sheet.png", "pareto.png"}
    contents = json.loads((output / "scores.json").read_text())
    settings = [(r["split"], r["num_steps"]) for r in contents["scores"]]
    splits = ("test_pair", "test_concept")
    assert settings == [(split, steps) for split in splits for steps in (1, 2)]
    for row in contents["scores"]:
        assert row["num_pictures"] == 20 and row["image_size"] == 64
    assert len(contents["reconstructions"]) == 2
    assert all(3 < row["psnr"] < 25 for row in contents["reconstructions"])
    assert capsys.readouterr().out.splitlines()[-1] == f"{output}/scores.md"
    made = read_parameters(output / "sheet.png")
    assert [one["num_steps"] for one in made] == ([1] * 20 + [2] * 20) * 2
    assert {one["preset"] for one in made} == {str(preset)}
    assert [one["seed"] for one in made] == [*range(20)] * 4


def test_a_folder_of_drawings_at_another_size(preset, tmp_path, monkeypatch):
    monkeypatch.setitem(protocols.PROTOCOLS, "emoji", PROTOCOL)
    with zipfile.ZipFile(BUNDLED) as file:
        file.extractall(tmp_path / "drawings")
    evaluate(
        *(preset, tmp_path / "report", "--split", "test_pair"),
        *("--data", f"emoji:{tmp_path / 'drawings'}", "--image-size", "40"),
        *("--num-prompts", "6", "--num-steps", "1", "--super-res-num-steps"),
        *("1", "--seed", "3", "40"),
    )
    contents = json.loads((tmp_path / "report" / "scores.json").read_text())
    (row,) = contents["scores"]
    assert row["image_size"] == 40 and row["num_pictures"] == 6
    assert row["num_seeds"] == 2 and len(contents["runs"]) == 2


def test_a_size_that_is_no_multiple_of_a_token(preset, tmp_path, monkeypatch):
    """Pictures are compared; what tokenizers lose is not."""
    monkeypatch.setitem(protocols.PROTOCOLS, "emoji", PROTOCOL)
    evaluate(
        *(preset, tmp_path / "report", "--split", "test_pair"),
        *("--image-size", "27", "--num-prompts", "6"),
        *("--num-steps", "1", "--super-res-num-steps", "1"),
    )
    contents = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert contents["scores"][0]["image_size"] == 27
    assert contents["reconstructions"] == []


def test_another_temperature_is_that_of_both_stages(
    preset, tmp_path, monkeypatch
):
    """Each keeps the rest of its own sampler."""
    muse = shared_muse()
    own = {
        "sampler": ConfidenceSampler(temperature=0.5, top_k=3),
        "super_res_sampler": ConfidenceSampler(choice_temperature=1.0),
    }
    changed = dict(muse.generation_defaults) | own
    monkeypatch.setattr(muse, "generation_defaults", changed)
    muse.save_to_preset(str(tmp_path / "muse"))
    given = {}

    def look(*args, **kwargs):
        given.update(kwargs)
        raise OSError("seen enough")

    monkeypatch.setattr(muse_scores, "evaluate", look)
    with pytest.raises(SystemExit, match="seen enough"):
        evaluate(
            *(str(tmp_path / "muse"), tmp_path / "report"),
            *("--temperature", "0.7", "--num-prompts", "2"),
        )
    for name, sampler in own.items():
        expected = dataclasses.replace(sampler, temperature=0.7)
        assert given[name] == expected


def test_only_a_model_of_two_stages_has_steps_of_the_second():
    options = types.SimpleNamespace(super_res_num_steps=None)
    for cascade in (True, False):
        muse = shared_muse(cascade=cascade)
        settings = command._draw_settings(muse, options, {})
        assert ("super_res_num_steps" in settings) is cascade


def test_a_later_split_that_fails_keeps_the_first(
    preset, tmp_path, monkeypatch
):
    monkeypatch.setitem(protocols.PROTOCOLS, "emoji", PROTOCOL)
    draw = muse_scores.evaluate

    def fail_later(muse, pairs, *args, **kwargs):
        if pairs.rows[0]["split"] == "test_concept":
            raise OSError("the disk is full")
        return draw(muse, pairs, *args, **kwargs)

    monkeypatch.setattr(muse_scores, "evaluate", fail_later)
    with pytest.raises(SystemExit, match="the disk is full"):
        evaluate(
            *(preset, tmp_path / "report", "--num-prompts", "6"),
            *("--num-steps", "1", "--super-res-num-steps", "1"),
        )
    contents = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert [row["split"] for row in contents["scores"]] == ["test_pair"]


def test_the_emoji_protocol_knows_true_drawings():
    pairs = data.load_emoji(
        split="test_pair", prompts="styled", shuffle=False
    ).select(range(0, 700, 7))
    images, texts = pairs.as_arrays()
    scores = Scores(protocols.PROTOCOLS["emoji"], pairs)
    scores.update(images, images, texts)
    results = scores.results()
    assert results.pop("r_precision") > 0.75  # chance is 0.01
    assert results.pop("second_r_precision") > 0.3
    for name in ("frechet_distance", "kernel_distance"):
        assert results.pop(f"second_{name}") == pytest.approx(0, abs=0.01)
    assert results["perceptual_distance"] == pytest.approx(0, abs=1e-5)
    assert results["frechet_distance"] == pytest.approx(0, abs=1e-3)
    # Of equal sets the unbiased distance is a little below zero.
    assert -0.1 < results["kernel_distance"] < 0


def test_a_few_pictures_of_anything_are_scored(preset, tmp_path, capsys):
    """Ten classes of a user's own: the scorer of emoji knows none of them."""
    folder = write_pictures(tmp_path / "pictures", [None] * 10)
    options = ("--num-steps", "1", "--super-res-num-steps", "1")
    statistics = tmp_path / "true.npz"
    evaluate(
        *(preset, tmp_path / "all", "--data", folder, *options),
        *("--reference-statistics", str(statistics)),
        *("--training-data", folder),
    )
    with np.load(statistics) as file:
        assert file["mu"].shape == (1280,) and file["count"] == 10
    contents = json.loads((tmp_path / "all" / "scores.json").read_text())
    assert contents["protocol"] == "pictures"
    (row,) = contents["scores"]
    assert row["num_pictures"] == row["num_references"] == 10
    assert "r_precision" not in row
    (true,) = contents["true_pictures"]
    assert true["nearest_distance"] < 1e-5 < row["nearest_distance"]
    assert (tmp_path / "all" / "nearest.png").exists()
    assert row["frechet_distance"] > 0 and row["perceptual_distance"] > 0
    evaluate(
        *(preset, tmp_path / "one", "--data", folder),
        *("--num-prompts", "1", "--protocol", "emoji", *options),
    )
    (row,) = json.loads((tmp_path / "one/scores.json").read_text())["scores"]
    assert "perceptual_distance" in row and "kernel_distance" not in row
    said = capsys.readouterr().out
    for line in (
        "r_precision is left out: it needs 100 different prompts, here are 1",
        "kernel_distance is left out: it needs 2 pictures, here are 1",
        "rfid is left out: it needs 2 pictures, here are 1",
    ):
        assert line in said


# === Which rows ===


def write_pictures(folder, splits):
    """A picture a split; those of folders lie in these, `None` in none."""
    for i, image in enumerate(tiny_images(len(splits), size=16)):
        place = folder / (splits[i] or "")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")
        (place / f"{i}.txt").write_text(f"class {i}")
    return str(folder)


def write_table(folder, splits):
    """The same in a table with a column `split`."""
    write_pictures(folder, [None] * len(splits))
    rows = [f"{i}.png,class {i},{split}" for i, split in enumerate(splits)]
    table = "\n".join(["file_name,text,split", *rows])
    (folder / "metadata.csv").write_text(table)
    return str(folder)


def parsed(*options):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(["muse_emoji", "--output", "report", *options])


def test_rows_that_are_trained_on_are_drawn_where_they_are_named_only(
    tmp_path, capsys
):
    folder = write_pictures(tmp_path, ["train"] * 5 + ["test"] * 2)

    def load(*options):
        options = parsed("--data", folder, *options)
        return command._load_collections(options, CHEAP)

    (pairs,) = load().values()
    assert pairs.texts == ["class 5", "class 6"]
    assert "2 of 7 rows" in capsys.readouterr().out
    assert load("--split", "train")["train"].num_examples == 5
    assert load("--split", "test")["test"].num_examples == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("split", ["train", "test", None])
def test_rows_of_one_split_or_of_none_are_all_drawn(tmp_path, capsys, split):
    folder = write_pictures(tmp_path / "data", [split] * 3)
    options = parsed("--data", folder)
    pairs = command._load_collections(options, CHEAP)["all"]
    assert pairs.num_examples == 3
    assert capsys.readouterr().out == ""


def test_rows_that_are_held_out_are_no_training_data(tmp_path):
    def load(name, splits):
        folder = write_table(tmp_path / name, splits)
        options = parsed("--training-data", folder)
        return command._load_training_pairs(options, CHEAP)

    assert load("mixed", ["train", "test", "train"]).texts == [
        "class 0",
        "class 2",
    ]
    with pytest.raises(ValueError, match="`--training-data`.*4 rows"):
        load("held_out", ["test"] * 4)


def test_statistics_that_are_there_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    options = parsed(
        *("--data", str(tmp_path)),
        *("--reference-statistics", str(tmp_path / "true.npz")),
    )
    with pytest.raises(PermissionError):
        command._check_statistics(options)
    (tmp_path / "true.npz").touch()
    command._check_statistics(options)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--split", "test"], "`split` must be one of"),
        (["--data", "no/where", "--split", "all"], "no/where"),
        (["--protocol", "coco"], "30000 rows"),
        (["--image-size", "0"], "`image_size`.*image_size=0"),
        (["--reference-statistics", "true.npz"], "name one `--split`"),
        (["--num-prompts", "99999"], "`--num-prompts` must be at most the row"),
    ],
)
def test_what_cannot_be_measured_is_said_and_nothing_written(
    preset, tmp_path, options, message
):
    with pytest.raises(SystemExit, match=message):
        evaluate(preset, tmp_path / "report", *options)
    assert not list(tmp_path.iterdir())
