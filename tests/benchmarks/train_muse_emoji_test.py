"""benchmarks/assets/train_muse_emoji.py, on a few plain pictures."""

import argparse
import importlib
import json
import pathlib

import grain
import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import keras_muse
from keras_muse.data.token_shards.records import unpack_record
from tests.data.image_text_test import png
from tests.data.image_text_test import write_tar

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
TINY = {
    "SMALL": 16,
    "LARGE": 32,
    "TRANSFORMER": {"codebook_size": 32, "text_dim": 384, "num_heads": 2},
    "BASE": {
        "num_layers": 2,
        "hidden_dim": 16,
        "intermediate_dim": 32,
        "use_gated_activation": True,
        "use_query_key_norm": True,
    },
    "SUPER_RES": {
        "num_layers": 2,
        "low_res_num_layers": 1,
        "hidden_dim": 16,
        "intermediate_dim": 32,
        "block_size": 2,
    },
    "TOKENIZER": {
        "base_channels": 8,
        "channel_multipliers": (1, 2, 2),
        "num_res_blocks": 1,
        "codebook_size": 32,
        "codebook_dim": 8,
        "num_groups": 4,
    },
    "BATCH": {"base": 2, "super_res": 2},
    "STEPS": 2,
    "SAVE_EVERY": 0,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The output of all stages but those that train tokenizers."""
    directory = tmp_path_factory.mktemp("muse_emoji")
    rows, files = [], {}
    for i, (text, style, split) in enumerate(ROWS):
        name = f"{i}.png"
        files[name] = png((30 * i, 90, 200 - 30 * i), (32, 32))
        row = {"file_name": name, "text": text, "style": style}
        rows.append({**row, "split": split, "group": "food & drink"})
    files["metadata.jsonl"] = "\n".join(map(json.dumps, rows)).encode()
    (directory / "pictures").mkdir()
    write_tar(directory / "pictures" / "all.tar", files)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(ROOT / "benchmarks/assets")
        script = importlib.import_module("train_muse_emoji")
        for name, value in TINY.items():
            monkeypatch.setattr(script, name, value)
        tokenizer = keras_muse.VQGANTokenizer(**TINY["TOKENIZER"])
        for name in ("tokenizer", "decoder"):
            tokenizer.save_to_preset(str(directory / name))
        for stage in ("tokens", "base", "super_res", "preset"):
            options = argparse.Namespace(
                pictures=directory / "pictures",
                output=directory,
                stage=stage,
                minutes=0.001,
                views=4,
                seed=0,
            )
            getattr(script, f"make_{stage}")(options)
    return directory


def captions(directory, split):
    files = sorted(map(str, (directory / "tokens" / split).glob("*_record")))
    records = grain.sources.ArrayRecordDataSource(files)
    return [unpack_record(records[i])["captions"] for i in range(len(records))]


def test_held_out_rows_are_in_no_training_shard(trained):
    styled = [styled for styled, _ in captions(trained, "train")]
    assert set(styled) == {
        f"{text}, {style} style" for text, style, s in ROWS if s == "train"
    }
    # A picture with a skin tone has a fourth of the others' views.
    assert len(styled) == 4 + 1 + 4
    for split in ("test_pair", "test_concept"):
        held_out = [caption for caption, _ in captions(trained, split)]
        assert len(held_out) == 2 and not set(held_out) & set(styled)


def test_the_preset_draws_and_its_weights_are_halved(trained):
    muse = keras_muse.Muse.from_preset(str(trained / "preset"))
    images = muse.generate(
        ["a red apple"], num_steps=2, super_res_num_steps=1, seed=0, verbose=0
    )
    assert images.shape == (1, 32, 32, 3)
    for part, name in (
        ("base", "base"),
        ("super_res", "super_res"),
        ("image_tokenizer", "tokenizer"),
        ("high_res_image_tokenizer", "decoder"),
    ):
        dtypes = stored_dtypes(trained / "preset" / part / "model.weights.h5")
        # The codebook is known by its exact numbers.
        codes = {dtypes.pop(k) for k in list(dtypes) if "quantizer" in k}
        assert np.dtype("float16") not in codes
        assert set(dtypes.values()) == {np.dtype("float16")}
        model = getattr(muse, part)
        whole = type(model).from_preset(str(trained / name))
        for mine, theirs in zip(model.weights, whole.weights, strict=True):
            assert mine.dtype == theirs.dtype and mine.path == theirs.path
            np.testing.assert_allclose(
                *map(keras.ops.convert_to_numpy, (mine, theirs)),
                atol=1e-6,
                rtol=0 if "quantizer" in mine.path else 1e-3,
            )


def stored_dtypes(file):
    dtypes = {}
    with h5py.File(file) as weights:
        weights.visititems(
            lambda name, node: dtypes.update(
                {name: node.dtype} if isinstance(node, h5py.Dataset) else {}
            )
        )
    return dtypes


def test_curves_have_the_losses_of_held_out_rows(trained):
    rows = [
        json.loads(line)
        for line in (trained / "curves.jsonl").read_text().splitlines()
    ]
    assert {row["stage"] for row in rows} == {"base", "super_res"}
    for row in rows:
        assert row["steps"] > 0 and row["test_concept/loss"] > 0
    assert Image.open(trained / "curves.png").width > 300
