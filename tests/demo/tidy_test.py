"""What is left of the pictures of a session."""

import os
import time

from keras_muse.demo import gallery
from keras_muse.demo import tidy
from tests.demo.gallery_test import drawn
from tests.demo.gallery_test import files


def test_what_is_old_is_swept_up_but_no_gallery(tmp_path):
    session = gallery.Session()
    (kept,) = gallery.keep([], drawn(1), session.place(tmp_path))
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mask.png").write_bytes(b"12345")
    hour_ago = time.time() - 3600
    for path in (tmp_path / "old" / "mask.png", kept.path):
        os.utime(path, (hour_ago, hour_ago))
    tidy.sweep(tmp_path, seconds=60)
    assert {path.name for path in files(tmp_path)} == {
        "mask.png",
        os.path.basename(kept.path),
    }
    assert not (tmp_path / "old").exists()
    tidy.sweep(tmp_path, max_bytes=4)
    assert [str(path) for path in files(tmp_path)] == [kept.path]


def test_the_newest_entries_are_held():
    newest = tidy.Newest(2)
    for number in range(4):
        newest[number] = number
    assert list(newest) == [2, 3]
