"""The bundled emoji: splits, prompts, styles, balance, licences."""

import collections
import json
import os
import pathlib

import numpy as np
import pytest

from keras_muse.data import load_emoji
from keras_muse.data.emoji import BUNDLED
from tests.helpers.collections import png
from tests.helpers.collections import write_tar

NOTICE = pathlib.Path(__file__).parents[2] / "NOTICE"


def pairs_of(pairs, *columns):
    return {tuple(row[column] for column in columns) for row in pairs.rows}


def test_bundled_set_is_whole_and_small():
    splits = ("train", "test_pair", "test_concept")
    sizes = [load_emoji(split=split).num_examples for split in splits]
    assert sizes == [10389, 723, 439]
    assert os.path.getsize(BUNDLED) < 12e6
    assert load_emoji().report["counts"] == {}


def test_nothing_of_the_test_splits_is_trained_on():
    train = load_emoji()
    held_out = load_emoji(split="test_pair")
    unseen = load_emoji(split="test_concept")
    columns = ("concept", "family")
    assert not pairs_of(train, *columns) & pairs_of(held_out, *columns)
    assert not pairs_of(train, "concept") & pairs_of(unseen, "concept")
    assert not pairs_of(train, "text") & pairs_of(unseen, "text")
    # A held-out pair's thing is known from another hand.
    assert pairs_of(held_out, "concept") <= pairs_of(train, "concept")


def test_pictures_are_drawings_on_white():
    pairs = load_emoji(split="test_pair", image_size=64)
    images, texts = pairs.as_arrays()
    assert images.shape == (723, 64, 64, 3)
    assert texts == pairs.texts
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
    assert np.median(corners) == 255
    assert (images.reshape(723, -1).std(1) > 2).all()  # none is empty
    small = load_emoji(split="test_pair", image_size=32)[0]["image"]
    area = images[:32].reshape(32, 32, 2, 32, 2, 3).mean((2, 4))
    assert np.abs(small - area).mean() < 3


def test_a_known_drawing():
    pairs = load_emoji(styles=["twemoji"], prompts="plain")
    index = pairs.texts.index("red circle")
    center = pairs.select([index])[0]["image"][0, 32, 32].astype(int)
    assert center[0] > 180 and center[1:].max() < 90


def test_prompts():
    plain = load_emoji(prompts="plain", styles=["noto blob"])
    styled = load_emoji(prompts="styled", styles=["noto blob"])
    both = load_emoji(prompts="both", styles=["noto blob"], shuffle=True)
    assert styled.texts == [f"{t}, noto blob style" for t in plain.texts]
    assert both.texts == styled.texts
    endings = collections.Counter(
        text.endswith(", noto blob style")
        for batch in range(5)
        for text in both[batch]["text"]
    )
    assert min(endings.values()) > 40


def test_balance_by_concept():
    pairs = load_emoji(balance="concept", batch_size=10389, seed=1)
    concepts = [row["concept"] for row in pairs.rows]
    counts = collections.Counter(concepts[row] for row in pairs._order(epoch=0))
    assert len(counts) == len(set(concepts))
    assert max(counts.values()) - min(counts.values()) <= 1
    again = load_emoji(balance="concept", seed=1)
    np.testing.assert_array_equal(pairs._order(0), again._order(0))


def test_styles_and_licences():
    pairs = load_emoji(split="test_concept")
    styles = {row["style"] for row in pairs.rows}
    assert len(styles) == 8
    notice = NOTICE.read_text()
    for row in pairs.rows:
        assert row["licence"] in ("MIT", "Apache-2.0", "CC-BY-4.0")
        assert row["licence"] in notice
        assert "skin tone" not in row["text"]
    for name in ("Twemoji", "EmojiOne", "Noto", "FxEmoji", "Fluent"):
        assert name in notice


def test_unknown_options_raise():
    for options in (
        {"split": "test"},
        {"styles": ["picasso"]},
        {"styles": "noto"},
        {"prompts": "tags"},
        {"skin_tones": True},
    ):
        with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
            load_emoji(**options)


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="`directory` names what is not .*no'"):
        load_emoji(tmp_path / "no")


def test_a_directory_of_other_pictures_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png("red"))
    (tmp_path / "a.txt").write_text("a wall")
    with pytest.raises(ValueError, match="`directory`.*columns.*load_image"):
        load_emoji(tmp_path)


def test_a_directory_without_such_drawings_is_refused(tmp_path):
    (tmp_path / "drawings.tar.gz").write_bytes(b"not read")
    with pytest.raises(ValueError, match="'unread archive': 1"):
        load_emoji(tmp_path)
    row = {"text": "ox", "style": "noto", "split": "train"}
    rows = json.dumps({"file_name": "ox.png", **row}).encode()
    write_tar(
        tmp_path / "noto.tar", {"ox.png": png("red"), "metadata.jsonl": rows}
    )
    assert load_emoji(tmp_path).num_examples == 1
    with pytest.raises(ValueError, match="no such drawing.*'test_pair'"):
        load_emoji(tmp_path, split="test_pair")


def test_directory_of_tars(tmp_path):
    rows, files = [], {}
    for name, text in (("a", "hand"), ("b", "hand: dark skin tone")):
        files[f"{name}.webp"] = png("red")
        rows.append(
            {
                "file_name": f"{name}.webp",
                "text": text,
                "style": "mine",
                "split": "train",
            }
        )
    files["metadata.jsonl"] = "\n".join(map(json.dumps, rows)).encode()
    write_tar(tmp_path / "mine.tar", files)
    assert load_emoji(tmp_path).texts == ["hand, mine style"]
    assert load_emoji(tmp_path, skin_tones=True).num_examples == 2
    with pytest.raises(ValueError, match="mine"):
        load_emoji(tmp_path, styles=["noto"])
