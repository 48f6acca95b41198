import json
import re

import pytest

from keras_muse.recipes.work import Work


def test_a_directory_belongs_to_one_training(tmp_path):
    output = str(tmp_path / "out")
    work = Work(output, {"pictures": "a", "seed": 0})
    with pytest.raises(ZeroDivisionError):
        work.once("sizes.json", lambda: 1 / 0)
    assert not (tmp_path / "out").exists()  # what failed has begun nothing
    assert work.once("sizes.json", lambda: {"x": 1}) == {"x": 1}
    again = Work(output, {"pictures": "a", "seed": 0})
    assert again.once("sizes.json", lambda: {"x": 2}) == {"x": 1}
    with pytest.raises(ValueError, match="`output`.*other pictures, style"):
        Work(output, {"pictures": "b", "seed": 0, "style": "ink"})
    (tmp_path / "other" / "preset").mkdir(parents=True)
    with pytest.raises(ValueError, match="`output`.*something else"):
        Work(str(tmp_path / "other"), {})


def test_two_trainings_do_not_write_at_once(tmp_path):
    output = tmp_path / "out"
    works = [Work(str(output), {"seed": 0}) for _ in range(2)]
    with works[0].claimed():  # before it has chosen anything
        with pytest.raises(ValueError, match="`output` is .* by another train"):
            with works[1].claimed():
                pass
        assert output.exists()
    assert not output.exists()  # nothing was kept
    with works[1].claimed():  # the first has ended
        works[1].once("sizes.json", dict)
    assert (output / "work" / "sizes.json").exists()


def test_a_training_that_has_come_and_gone_meanwhile_is_seen(tmp_path):
    mine, other = (Work(str(tmp_path), {"seed": i}) for i in range(2))
    with other.claimed():
        other.once("sizes.json", dict)
    with pytest.raises(ValueError, match="begun with other seed"):
        with mine.claimed():
            pass


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    work = Work(str(tmp_path), {"seed": 0})
    with work.claimed():
        work.once("sizes.json", dict)
    stage = tmp_path / "work" / "base"
    stage.mkdir()
    for name in ("state.weights.h5", ".writing_0123abcd.weights.h5"):
        (stage / name).write_text("weights")
    (tmp_path / ".writing_mine").write_text("mine")
    with work.claimed():
        assert [x.name for x in stage.iterdir()] == ["state.weights.h5"]
    assert (tmp_path / ".writing_mine").exists()


def test_what_is_kept_has_entries_of_its_types(tmp_path):
    work = Work(str(tmp_path), {"seed": 0})
    kept = work.once("sizes.json", lambda: {"side": 8}, side=int)
    assert kept == {"side": 8}
    path = tmp_path / "work" / "sizes.json"
    for damaged in ({}, {"side": "8"}, {"side": 8, "sides": 9}):
        path.write_text(json.dumps(damaged))
        with pytest.raises(ValueError, match=re.escape(str(path))):
            work.once("sizes.json", dict, side=int)


@pytest.mark.parametrize(
    "name",
    ["preset", "scores", "grid.png", "progress.png", "base.lora.h5"],
)
def test_nothing_of_somebody_elses_is_replaced(tmp_path, name):
    mine = tmp_path / name
    mine.write_text("mine")
    with pytest.raises(ValueError, match=f"`output`.*, with {name} of some"):
        Work(str(tmp_path), {})
    mine.rename(tmp_path / "picture.png")  # it may stand beside others
    work = Work(str(tmp_path), {"seed": 0})
    work.once("sizes.json", dict)
    (tmp_path / name).write_text("of this training")
    Work(str(tmp_path), {"seed": 0})


def test_what_a_kill_leaves_at_the_very_beginning_is_nothing(tmp_path):
    begun = tmp_path / "out" / "work"
    begun.mkdir(parents=True)
    (begun / ".writing_1234.json").write_text("{")
    work = Work(str(tmp_path / "out"), {"seed": 0})
    assert work.once("sizes.json", lambda: {"x": 1}) == {"x": 1}
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "work").write_text("somebody's")
    with pytest.raises(ValueError, match="`output`.*something else"):
        Work(str(tmp_path / "file"), {})
