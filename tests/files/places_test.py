import os

import pytest

from keras_muse.files.places import check_place


def test_places_that_are_good(tmp_path):
    check_place(tmp_path / "a/b.png")
    check_place(tmp_path / "a/b", is_directory=True)
    check_place(tmp_path, is_directory=True)
    (tmp_path / "a.png").write_text("old")
    check_place(tmp_path / "a.png")
    assert os.listdir(tmp_path) == ["a.png"]


def test_nothing_is_made_where_something_else_stands(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    for path, is_directory, error in (
        (tmp_path / "file", True, NotADirectoryError),
        (tmp_path / "file/a/b.png", False, NotADirectoryError),
        (tmp_path / "folder", False, IsADirectoryError),
        ("", False, FileNotFoundError),
    ):
        with pytest.raises(error) as caught:
            check_place(path, is_directory)
        assert caught.value.filename == str(path)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_the_nearest_directory_that_is_there_must_be_open(
    tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append(path))
    with pytest.raises(PermissionError) as caught:
        check_place(tmp_path / "a/b/c.png")
    assert caught.value.filename == str(tmp_path / "a/b/c.png")
    assert asked == [str(tmp_path)]


def test_behind_a_link_the_place_is_that_of_what_it_leads_to(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.png").symlink_to(tmp_path / "folder")
    with pytest.raises(IsADirectoryError):
        check_place(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "folder/b.png")
    check_place(tmp_path / "b.png")
    (tmp_path / "file").write_text("old")
    (tmp_path / "c.png").symlink_to(tmp_path / "file/c.png")
    with pytest.raises(NotADirectoryError):
        check_place(tmp_path / "c.png")


@pytest.mark.skipif(not hasattr(os, "pathconf"), reason="names of POSIX")
@pytest.mark.parametrize("letter", ["a", "\N{HIRAGANA LETTER A}"])
def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path, letter):
    longest = os.pathconf(tmp_path, "PC_NAME_MAX") // len(letter.encode())
    check_place(tmp_path / (letter * longest))
    for path in (
        tmp_path / (letter * (longest + 1)),
        tmp_path / (letter * (longest + 1)) / "a.png",
        tmp_path / "b" / (letter * (longest + 1)) / "a.png",
    ):
        with pytest.raises(OSError) as caught:
            check_place(path)
        assert caught.value.filename == str(path)
