import contextlib
import errno
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from keras_muse.files import whole
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


KILLED = """
import os, sys
from keras_muse.files import whole
from keras_muse.files.whole import write_whole
target, last = sys.argv[1], int(sys.argv[2])
count = 0
def kill(event, arguments):
    global count
    if event == "open" or event.startswith(("os.", "shutil.", "ctypes.")):
        count += 1
        if count > last:
            os._exit(9)
with write_whole(target) as directory:
    os.makedirs(directory + "/part")
    for name in ("config.json", "part/model.weights.h5", "part/config.json"):
        with open(directory + "/" + name, "w") as file:
            file.write("new")
    sys.addaudithook(kill)
"""


def contents(directory):
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_kill_at_any_call_leaves_the_old_or_the_new(tmp_path):
    names = ["config.json", "part/model_00000.weights.h5", "part/config.json"]
    old = {name: "old" for name in names} | {"README.md": "mine"}
    new = {
        **{"config.json": "new", "README.md": "mine"},
        **{"part/model.weights.h5": "new", "part/config.json": "new"},
    }
    outcomes, last = [], 0
    while not outcomes or outcomes[-1] != (0, new):
        target = tmp_path / "preset"
        shutil.rmtree(target, ignore_errors=True)
        for name, text in old.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_text(text)
        process = subprocess.run(
            [sys.executable, "-c", KILLED, str(target), str(last)]
        )
        outcomes.append((process.returncode, contents(target)))
        assert outcomes[-1] in ((9, old), (9, new), (0, new)), last
        last += 1
    # It was killed before the change, and after it.
    assert (9, old) in outcomes and (9, new) in outcomes
    # What the kills left behind is gone.
    assert os.listdir(tmp_path) == ["preset"]


def test_what_another_writer_holds_is_left_alone(tmp_path):
    with write_whole(tmp_path / "preset") as first:
        (pathlib.Path(first) / "a").write_text("first")
        with write_whole(tmp_path / "preset") as second:
            (pathlib.Path(second) / "b").write_text("second")
        assert (pathlib.Path(first) / "a").exists()
    assert contents(tmp_path / "preset") == {"a": "first", "b": "second"}


def test_the_place_may_be_a_link_and_where_one_stands(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with write_whole(tmp_path / "link") as directory:
        (pathlib.Path(directory) / "a").write_text("x")
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "real") == {"a": "x"}
    monkeypatch.chdir(tmp_path / "real")
    (tmp_path / "real/model_00000.weights.h5").write_text("old")
    with write_whole(".") as directory:
        (pathlib.Path(directory) / "model.weights.h5").write_text("y")
    assert contents(tmp_path / "real") == {"a": "x", "model.weights.h5": "y"}
    assert sorted(os.listdir(".")) == ["a", "model.weights.h5"]


def test_whoever_stands_nowhere_may_replace_what_is_there(
    tmp_path, monkeypatch
):
    target, gone = tmp_path / "preset", tmp_path / "gone"
    target.mkdir()
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with write_whole(str(target)) as directory:
        (pathlib.Path(directory) / "config.json").write_text("new")
    assert contents(target) == {"config.json": "new"}


@pytest.mark.parametrize("renames", [True, False])
def test_without_an_exchange_it_works_too(tmp_path, monkeypatch, renames):
    target = tmp_path / "preset"
    target.mkdir()
    (target / "README.md").write_text("mine")
    monkeypatch.setattr(whole, "_swap", lambda *paths: False)
    if not renames:

        def refuse(*paths):
            raise OSError("busy")

        monkeypatch.setattr(os, "rename", refuse)
    with write_whole(target) as directory:
        (pathlib.Path(directory) / "config.json").write_text("new")
    assert contents(target) == {"README.md": "mine", "config.json": "new"}
    assert os.listdir(tmp_path) == ["preset"]


def test_others_may_read_what_was_written(tmp_path):
    with write_whole(tmp_path / "preset"):
        pass
    mask = os.umask(0)
    os.umask(mask)
    mode = (tmp_path / "preset").stat().st_mode
    assert mode & 0o777 == 0o777 & ~mask
    (tmp_path / "preset").chmod(0o750)
    with write_whole(tmp_path / "preset"):
        pass
    assert (tmp_path / "preset").stat().st_mode & 0o777 == 0o750


def test_links_to_folders_and_modes_of_subfolders_stay(tmp_path):
    target = tmp_path / "preset"
    target.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.txt").write_text("a")
    (target / "link").symlink_to(elsewhere)
    modes = {"secret": 0o700, "fixed": 0o500}
    for name, mode in modes.items():
        (target / name).mkdir()
        (target / name / "b.txt").write_text("b")
        (target / name).chmod(mode)
    with write_whole(target) as directory:
        (pathlib.Path(directory) / "config.json").write_text("new")
    assert sorted(os.listdir(target)) == [
        *("config.json", "fixed", "link", "secret")
    ]
    assert (target / "link").readlink() == elsewhere
    assert (elsewhere / "a.txt").read_text() == "a"
    for name, mode in modes.items():
        assert (target / name).stat().st_mode & 0o777 == mode
        assert (target / name / "b.txt").read_text() == "b"


def test_a_file_keeps_its_mode_and_the_link_that_leads_to_it(tmp_path):
    (tmp_path / "disk").mkdir()
    path, link = tmp_path / "disk" / "a.json", tmp_path / "a.json"
    path.write_text("old")
    path.chmod(0o600)
    link.symlink_to(path)
    whole.write_json(link, "new")
    assert link.readlink() == path and path.read_text() == '"new"'
    assert path.stat().st_mode & 0o777 == 0o600
    # Also where the link leads to nothing yet.
    path.unlink()
    whole.write_json(link, "newer")
    assert link.readlink() == path and path.read_text() == '"newer"'


def test_a_directory_is_claimed_once(tmp_path, monkeypatch):
    def claims():
        with whole.claimed(tmp_path) as first, whole.claimed(tmp_path) as more:
            return first, more

    for _ in range(2):  # the lock has an end
        assert claims() == (True, False)

    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(whole.fcntl, "flock", refuse)
    assert claims() == (True, True)


def test_a_directory_that_cannot_be_moved_keeps_its_place(
    tmp_path, monkeypatch
):
    """What is mounted, or lies where this user may not write."""
    target = tmp_path / "volume"
    target.mkdir()
    (target / "model_00000.weights.h5").write_text("old")
    (target / "README.md").write_text("mine")
    before = target.stat().st_ino
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(tmp_path))
    with pytest.raises(RuntimeError):
        with write_whole(target) as directory:
            (pathlib.Path(directory) / "model.weights.h5").write_text("half")
            raise RuntimeError
    assert sorted(os.listdir(target)) == ["README.md", "model_00000.weights.h5"]
    with write_whole(target) as directory:
        assert pathlib.Path(directory).parent == target
        (pathlib.Path(directory) / "model.weights.h5").write_text("new")
    assert contents(target) == {"README.md": "mine", "model.weights.h5": "new"}
    assert target.stat().st_ino == before
    assert os.listdir(tmp_path) == ["volume"]


def test_errors_name_the_place_that_was_asked_for(tmp_path):
    with pytest.raises(OSError, match="full: '.*/preset/part/a'"):
        with write_whole(tmp_path / "preset") as directory:
            raise OSError(28, "full", f"{directory}/part/a")
    with pytest.raises(OSError, match=r"No room: '.*/a\.png'"):
        with whole.write_whole_file(tmp_path / "a.png"):
            raise OSError(28, "No room")
    # What was read meanwhile keeps its own name.
    with pytest.raises(OSError, match="missing: 'source'"):
        with whole.write_whole_file(tmp_path / "a.png"):
            raise OSError(2, "missing", "source")
    assert os.listdir(tmp_path) == []


def test_what_another_user_left_is_no_obstacle(tmp_path, monkeypatch):
    theirs = tmp_path / f"{whole.WRITING}preset_theirs"
    theirs.mkdir()
    opened = os.open

    def refuse(path, *args, **kwargs):
        if str(path) == str(theirs):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    with write_whole(tmp_path / "preset"):
        pass
    assert sorted(os.listdir(tmp_path)) == [theirs.name, "preset"]


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_is_there_is_kept_where_it_shall_be(
    has_links, tmp_path, monkeypatch
):
    if not has_links:

        def refuse(*paths):
            raise OSError(errno.EPERM, "no links", paths[0])

        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "a.png"
    for text in ("old", "new"):
        with contextlib.suppress(FileExistsError):
            with whole.write_whole_file(path, overwrite=False) as temporary:
                pathlib.Path(temporary).write_text(text)
    assert path.read_text() == "old"
    with pytest.raises(FileExistsError, match=str(path)):
        with whole.write_whole_file(path, overwrite=False) as temporary:
            pathlib.Path(temporary).write_text("new")
    assert os.listdir(tmp_path) == ["a.png"]
    with whole.write_whole_file(path) as temporary:
        pathlib.Path(temporary).write_text("new")
    assert path.read_text() == "new"


def test_new_weights_replace_those_in_the_other_format(tmp_path):
    """Of both a loader would take the old ones."""
    target = tmp_path / "preset"
    target.mkdir()
    (target / "model.safetensors").write_text("old")
    (target / "README.md").write_text("mine")
    with write_whole(target) as directory:
        pathlib.Path(directory, "model.weights.h5").write_text("new")
    assert sorted(os.listdir(target)) == ["README.md", "model.weights.h5"]
    with write_whole(target) as directory:
        pathlib.Path(directory, "model.safetensors").write_text("newer")
    assert sorted(os.listdir(target)) == ["README.md", "model.safetensors"]


@pytest.mark.parametrize("ending", [".png", ".weights.h5", ""])
def test_names_may_be_as_long_as_can_be(tmp_path, ending):
    name = "a" * (255 - len(ending)) + ending
    with whole.write_whole_file(tmp_path / name) as temporary:
        assert temporary.endswith(ending)
        pathlib.Path(temporary).write_text("x")
    assert os.listdir(tmp_path) == [name]
    for folder in ("b" * 255, "\N{HIRAGANA LETTER A}" * 85):
        with write_whole(tmp_path / folder) as temporary:
            pathlib.Path(temporary, "config.json").write_text("x")
        assert os.listdir(tmp_path / folder) == ["config.json"]
