"""benchmarks/assets/train_muse_emoji.py, on a few plain pictures."""

import argparse
import importlib
import json
import pathlib
import re

import grain
import keras
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import keras_muse
from keras_muse.data.token_shards.records import unpack_record
from keras_muse.models.presets import architectures
from tests.helpers.collections import png
from tests.helpers.collections import write_tar

ROOT = pathlib.Path(__file__).parents[2]
ROWS = [
    ("red apple", "noto", "train"),
    ("waving hand: dark skin tone", "noto", "train"),
    ("arrow to the left", "noto", "train"),
    ("red apple", "twemoji", "test_pair"),
    ("waving hand", "twemoji", "test_pair"),
    ("blue whale", "noto", "test_concept"),
    ("blue whale", "twemoji", "test_concept"),
]
TRANSFORMER = {
    "codebook_size": 32,
    "grid_size": (4, 4),
    "text_dim": 384,
    "num_layers": 2,
    "hidden_dim": 32,
    "num_heads": 2,
    "intermediate_dim": 64,
}
ARCHITECTURES = {
    "TOKENIZER": (
        "VQGANTokenizer",
        {
            "base_channels": 8,
            "channel_multipliers": (1, 2, 2),
            "num_res_blocks": 1,
            "codebook_size": 32,
            "codebook_dim": 8,
            "num_groups": 4,
        },
    ),
    "BASE": ("MuseBase", TRANSFORMER),
    "SUPER_RES": (
        "MuseSuperRes",
        {
            **TRANSFORMER,
            "grid_size": (8, 8),
            "low_res_codebook_size": 32,
            "low_res_grid_size": (4, 4),
            "low_res_num_layers": 1,
            "block_size": 2,
        },
    ),
}
TINY = {"SMALL": 16, "LARGE": 32, "STEPS": 2, "SAVE_EVERY": 0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The output of all stages but those that train tokenizers."""
    directory = tmp_path_factory.mktemp("muse_emoji")
    rows, files = [], {}
    for i, (text, style, split) in enumerate(ROWS):
        name = f"{i}.png"
        files[name] = png((30 * i, 90, 200 - 30 * i), (32, 32))
        row = {"file_name": name, "text": text, "style": style}
        row |= {"split": split, "group": "food & drink"}
        rows.append({**row, "tags": ["round", "sweet"]} if i == 0 else row)
    files["metadata.jsonl"] = "\n".join(map(json.dumps, rows)).encode()
    (directory / "pictures").mkdir()
    write_tar(directory / "pictures" / "all.tar", files)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(ROOT / "benchmarks/assets")
        script = importlib.import_module("train_muse_emoji")
        for name, value in TINY.items():
            monkeypatch.setattr(script, name, value)
        for name, architecture in ARCHITECTURES.items():
            monkeypatch.setattr(script, name, name)
            monkeypatch.setitem(architectures.ARCHITECTURES, name, architecture)
        tokenizer = keras_muse.VQGANTokenizer.from_preset(
            script.TOKENIZER, load_weights=False
        )
        tokenizer.save_to_preset(str(directory / "tokenizer"))
        for stage in ("tokens", "base", "super_res", "preset"):
            options = argparse.Namespace(
                pictures=directory / "pictures",
                output=directory,
                stage=stage,
                minutes=0.001,
                views=4,
                batch_size=2,
                seed=0,
            )
            getattr(script, f"make_{stage}")(options)
    return directory


def captions(directory, split):
    files = sorted(map(str, (directory / "tokens" / split).glob("*_record")))
    records = grain.sources.ArrayRecordDataSource(files)
    return [unpack_record(records[i])["captions"] for i in range(len(records))]


def test_held_out_rows_are_in_no_training_shard(trained):
    train = captions(trained, "train")
    styled = [styled for styled, *_ in train]
    assert set(styled) == {
        f"{text}, {style} style" for text, style, s in ROWS if s == "train"
    }
    # A picture with a skin tone has a fourth of the others' views.
    assert len(styled) == 4 + 1 + 4
    tagged = [others for _, *others in train if len(others) > 1]
    assert len(tagged) == 4  # words beside the name, in each view of one
    assert all({"round", "sweet"} < set(re.split(", ", x[2])) for x in tagged)
    for split in ("test_pair", "test_concept"):
        held_out = [caption for caption, _ in captions(trained, split)]
        assert len(held_out) == 2 and not set(held_out) & set(styled)


def test_a_view_is_the_drawing_moved_on_white():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(ROOT / "benchmarks/assets")
        script = importlib.import_module("train_muse_emoji")
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), "uint8")
    rng = np.random.default_rng(0)
    first = script.random_move(rng, 0, 8, may_mirror=True)
    mirrored = [-1, 0, 7, 0, 1, 0, 0, 0]
    right = [1, 0, -2, 0, 1, 0, 0, 0]  # where each pixel comes from
    views = script.moved(image, [first, mirrored, right])
    np.testing.assert_array_equal(views[0], image)
    np.testing.assert_array_equal(views[1], image[:, ::-1])
    np.testing.assert_array_equal(views[2][:, 2:], image[:, :-2])
    assert (views[2][:, :2] == 255).all()
    moves = [script.random_move(rng, view, 8, True) for view in (1, 2, 3)]
    assert [np.sign(move[0]) for move in moves] == [-1, 1, -1]
    assert script.random_move(rng, 1, 8, may_mirror=False)[0] > 0


def test_some_low_resolution_tokens_are_wrong(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks/assets")
    script = importlib.import_module("train_muse_emoji")
    batch = {
        "token_ids": np.zeros((64, 4), "int32"),
        "low_res_token_ids": np.zeros((64, 16, 16), "int32"),
    }
    changed = script.with_wrong_tokens(batch, codebook_size=1024)
    rates = (changed["low_res_token_ids"] != 0).mean(axis=(1, 2))
    assert 0.05 < rates.mean() < 0.1 and rates.max() < 0.25
    assert changed["token_ids"] is batch["token_ids"]
    assert (batch["low_res_token_ids"] == 0).all()


def test_the_preset_draws_and_is_small(trained):
    preset = trained / "preset"
    muse = keras_muse.Muse.from_preset(str(preset))
    images = muse.generate(
        ["a red apple"], num_steps=2, super_res_num_steps=1, seed=0, verbose=0
    )
    assert images.shape == (1, 32, 32, 3)
    stored = safetensors.numpy.load_file(
        preset / "image_tokenizer" / "model.safetensors"
    )
    for name, tensor in stored.items():
        # A code is known by the exact numbers of the codebook.
        halved = tensor.dtype == "float16"
        assert halved != ("quantizer" in name), name
    for part in ("base", "super_res", "image_tokenizer"):
        assert not (preset / part / "model.weights.h5").exists()
    for part in ("base", "super_res"):
        model = getattr(muse, part)
        whole = type(model).from_preset(str(trained / part))
        for mine, theirs in zip(model.weights, whole.weights, strict=True):
            mine, theirs = map(keras.ops.convert_to_numpy, (mine, theirs))
            largest = max(np.abs(theirs).max(), 1e-6)
            np.testing.assert_allclose(mine, theirs, atol=largest / 120)


def test_curves_have_the_losses_of_held_out_rows(trained):
    rows = [
        json.loads(line)
        for line in (trained / "curves.jsonl").read_text().splitlines()
    ]
    assert {row["stage"] for row in rows} == {"base", "super_res"}
    for row in rows:
        assert row["steps"] > 0 and row["test_concept/loss"] > 0
    assert Image.open(trained / "curves.png").width > 300
