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
