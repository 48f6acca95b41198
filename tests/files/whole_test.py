import os

import pytest

from keras_muse.files.whole import write_whole


def test_files_appear_together(tmp_path):
    target = tmp_path / "preset"
    with write_whole(target) as directory:
        os.makedirs(f"{directory}/part")
        for name in ("config.json", "part/config.json"):
            with open(f"{directory}/{name}", "w") as file:
                file.write(name)
        assert not target.exists()
    assert (target / "part/config.json").read_text() == "part/config.json"
    assert os.listdir(tmp_path) == ["preset"]


def test_an_error_leaves_what_was_there(tmp_path):
    target = tmp_path / "preset"
    target.mkdir()
    (target / "config.json").write_text("old")
    with pytest.raises(RuntimeError):
        with write_whole(target) as directory:
            with open(f"{directory}/config.json", "w") as file:
                file.write("new")
            raise RuntimeError
    assert (target / "config.json").read_text() == "old"
    assert os.listdir(tmp_path) == ["preset"]


def test_weights_of_an_earlier_preset_are_removed(tmp_path):
    (tmp_path / "model_00000.weights.h5").write_text("shard")
    with write_whole(tmp_path) as directory:
        with open(f"{directory}/model.weights.h5", "w") as file:
            file.write("whole")
    assert os.listdir(tmp_path) == ["model.weights.h5"]


def test_what_else_is_there_stays(tmp_path):
    mine = {"model_03.weights.h5", "model.03.weights.h5", "model.weights.h5"}
    for name in mine:
        (tmp_path / name).write_text("mine")
    with write_whole(tmp_path) as directory:
        with open(f"{directory}/scores.json", "w") as file:
            file.write("no weights")
    assert set(os.listdir(tmp_path)) == {*mine, "scores.json"}
    with write_whole(tmp_path) as directory:
        with open(f"{directory}/model_00000.weights.h5", "w") as file:
            file.write("new weights")
    mine.remove("model.weights.h5")
    names = {*mine, "scores.json", "model_00000.weights.h5"}
    assert set(os.listdir(tmp_path)) == names
