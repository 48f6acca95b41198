import os

from keras_muse.files.places import check_place


def test_places_that_are_good(tmp_path):
    check_place(tmp_path / "a/b.png")
    check_place(tmp_path / "a/b", is_directory=True)
    check_place(tmp_path, is_directory=True)
    (tmp_path / "a.png").write_text("old")
    check_place(tmp_path / "a.png")
    assert os.listdir(tmp_path) == ["a.png"]
