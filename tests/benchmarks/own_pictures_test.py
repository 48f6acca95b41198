"""benchmarks/own_pictures.py, on ten kinds of pictures that are easily told."""

import gzip
import importlib
import json
import pathlib
import sys
import types

import numpy as np
import pytest
from PIL import Image

import keras_muse

ROOT = pathlib.Path(__file__).parents[2]
NUM_WRITTEN, NUM_PICTURES = 30, 230


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    module = importlib.import_module("own_pictures")
    monkeypatch.setattr(module, "WRITTEN", NUM_WRITTEN)
    return module


def bars(labels, seed=0):
    """A light bar at the height of the label, on noise."""
    noise = np.random.default_rng(seed).integers(0, 60, (len(labels), 28, 28))
    for picture, label in zip(noise, labels, strict=True):
        picture[2 * label + 4 : 2 * label + 8] += 150
    return noise.astype("uint8")


@pytest.fixture
def source(tmp_path):
    """A folder of files as the dataset has them."""
    folder = tmp_path / "source"
    folder.mkdir()
    for part, number in (("train", NUM_PICTURES), ("t10k", 60)):
        labels = (np.arange(number) % 10).astype("uint8")
        contents = {
            "images-idx3": bytes(16) + bars(labels, number).tobytes(),
            "labels-idx1": bytes(8) + labels.tobytes(),
        }
        for name, content in contents.items():
            path = folder / f"{part}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(content))
    return folder


def test_pictures_are_written_with_their_captions(benchmark, source, tmp_path):
    benchmark.write(source, tmp_path / "written")
    pairs = keras_muse.data.load_image_text(tmp_path / "written")
    assert pairs.num_examples == NUM_WRITTEN
    assert pairs.texts == list(benchmark.CAPTIONS) * 3
    images, _ = benchmark.read(source, "train")
    written = np.asarray(Image.open(tmp_path / "written" / "00003.png"))
    np.testing.assert_array_equal(written, images[3])


def test_what_is_drawn_is_recognised_or_not(
    benchmark, source, tmp_path, monkeypatch, capsys
):
    """A painter who knows it all, one of another kind, one of few pictures."""

    def in_colour(images):
        return np.repeat(images[..., None], 3, axis=-1)

    def painter(kind_of, num_pictures):
        def generate(prompts, seed):
            labels = [kind_of(benchmark.CAPTIONS.index(p)) for p in prompts]
            drawn = bars(labels, seed=5)
            same = np.arange(len(drawn)) % num_pictures
            first = np.arange(len(drawn)) // 6 * 6  # of its kind
            return in_colour(drawn[first + same])

        tokenizer = types.SimpleNamespace(
            downsampling_factor=7,
            predict=lambda images, verbose: images / 127.5 - 1.0,
        )
        base = types.SimpleNamespace(grid_size=(4, 4))
        return types.SimpleNamespace(
            generate=generate, image_tokenizer=tokenizer, base=base
        )

    known = []
    train = benchmark.trained_classifier

    def train_once(options):
        known.append(known[0] if known else train(options))
        return known[0]

    monkeypatch.setattr(benchmark, "trained_classifier", train_once)

    def score(kind_of, num_pictures):
        made = painter(kind_of, num_pictures)
        monkeypatch.setattr(keras_muse.Muse, "from_preset", lambda _: made)
        words = ("--source", source, "--score", "a preset", "--each", 6)
        more = ("--epochs", 20, "--pictures", tmp_path / "sheet.png", "--json")
        monkeypatch.setattr(sys, "argv", ["", *map(str, words + more)])
        benchmark.main()
        rows = map(json.loads, capsys.readouterr().out.splitlines())
        return {row["pictures"]: row for row in rows}

    rows = score(lambda label: label, num_pictures=6)
    assert len(rows) == 3
    assert all(row["recognised"] > 0.9 for row in rows.values())
    assert all(row["differ by"] > 0.05 for row in rows.values())
    # Ten kinds of six, one below the other.
    assert Image.open(tmp_path / "sheet.png").height > 6 * 28
    rows = score(lambda label: (label + 5) % 10, num_pictures=1)
    assert rows["true"]["recognised"] > 0.9
    assert rows["drawn"]["recognised"] < 0.1
    assert rows["drawn"]["differ by"] == pytest.approx(0, abs=1e-6)
