import json
import os
import pathlib
import types

import numpy as np
import pytest

from keras_muse.recipes.options import Options


@pytest.mark.parametrize(
    "options, words",
    [
        ({"minutes": 0}, "minutes"),
        ({"lora_rank": 4}, "`lora_rank` fine-tunes.*preset=None"),
        ({"style": "ink"}, "`style` fine-tunes.*style='ink'"),
        ({"preset": "a", "image_size": 64}, "`image_size` is that of `preset`"),
        ({"preset": "a", "from_scratch": True}, "`from_scratch`"),
        ({"preset": "a", "style": " "}, "`style`.*Received: style=' '"),
        ({"preset": "a", "style": "ink\nand pen"}, "one line.*'ink"),
        ({"preset": "a", "style": "ink\x1b[1m"}, "`style`.*Received"),
        ({"preset": "a", "style": 5}, "`style`.*string"),
        ({"preset": "a", "lora_rank": 0}, "`lora_rank`.*lora_rank=0"),
        ({"tokenizer": "muse_base_tiny"}, "`tokenizer`.*vqgan_f4_tiny"),
        ({"base": "tiny"}, "`base`.*muse_base_tiny.*Received: base='tiny'"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32 - 1}, "`seed`.*Received: seed=4294967295"),
        ({"preset": 5}, "`preset`.*Received: preset=5"),
        ({"random_flip": True, "num_views": 1}, "`num_views` must be at leas"),
    ],
)
def test_what_cannot_be_asked_for(options, words):
    with pytest.raises(ValueError, match=words):
        Options(**{"minutes": 1, **options})


@pytest.mark.parametrize("style", ["my", "my style", " my  style "])
def test_a_style_may_be_called_one(style):
    """Captions end in the word, which is not said twice."""
    assert Options(minutes=1, preset="a", style=style).style == "my"


def test_values_of_any_library_are_kept_as_json_knows_them(tmp_path):
    options = Options(
        minutes=np.float32(1.5),
        image_size=np.int64(64),
        num_views=np.int32(3),
        random_flip=np.bool_(True),
        seed=np.uint32(7),
    )
    collection = types.SimpleNamespace(fingerprint=lambda: "abc")
    about = json.loads(json.dumps(options.identity(collection)))
    assert (about["image_size"], about["num_views"]) == (64, 3)
    assert about["random_flip"] is True and about["seed"] == 7
    options = Options(minutes=1, preset=pathlib.Path("muse_emoji"))
    assert options.preset == "muse_emoji"
    json.dumps(options.identity(collection))


def test_the_preset_is_not_written_into(tmp_path, monkeypatch):
    """Each start would find other weights there, and refuse to go on."""
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    options = Options(minutes=1, preset="mine")
    for output in ("mine/", str(tmp_path / "mine")):
        with pytest.raises(ValueError, match="`output` must be another.*mine"):
            options.check_output(output)
    options.check_output("out")
    Options(minutes=1, preset="muse_emoji").check_output("muse_emoji")


def test_a_directory_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    collection = types.SimpleNamespace(fingerprint=lambda: "abc")
    found = {
        Options(minutes=1, preset=preset).identity(collection)["preset"]
        for preset in ("mine", "mine/", "./mine", str(tmp_path / "mine"))
    }
    assert found == {os.path.realpath(tmp_path / "mine")}
    found = Options(minutes=1, preset="mine").identity(collection)
    (tmp_path / "mine" / "base").mkdir()
    for content in (b"a", b"b"):
        (tmp_path / "mine" / "base" / "model.weights.h5").write_bytes(content)
        other = Options(minutes=1, preset="mine").identity(collection)
        assert other["preset_weights"] != found["preset_weights"]
        found = other
    (tmp_path / "mine" / "README.md").write_text("a card")
    # And what is trained may lie in it.
    (tmp_path / "mine" / "out" / "preset").mkdir(parents=True)
    for name in ("base.lora.h5", "preset/model.weights.h5"):
        (tmp_path / "mine" / "out" / name).write_bytes(b"c")
    assert Options(minutes=1, preset="mine").identity(collection) == found
    named = Options(minutes=1, preset="muse_emoji")
    assert named.identity(collection)["preset"] == "muse_emoji"
