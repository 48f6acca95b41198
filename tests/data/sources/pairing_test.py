"""Every picture finds its captions, or is reported."""

import json
import os
import tempfile
import zipfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from keras_muse.data import load_image_text
from tests.helpers.collections import COLORS
from tests.helpers.collections import FILES
from tests.helpers.collections import PICTURE
from tests.helpers.collections import check
from tests.helpers.collections import check_colors
from tests.helpers.collections import collections
from tests.helpers.collections import drawn
from tests.helpers.collections import loaded
from tests.helpers.collections import png
from tests.helpers.collections import write
from tests.helpers.collections import write_tar


@drawn()
@hypothesis.given(collections(), st.sampled_from([".txt", ".TXT", ".caption"]))
def test_sidecars_in_folders_tars_and_zips(collection, ending):
    pictures, captions, expected = collection
    files = dict(pictures)
    for name, text in captions.items():
        files[os.path.splitext(name)[0] + ending] = text.encode()
    with tempfile.TemporaryDirectory() as folder:
        write(f"{folder}/loose", files)
        check(f"{folder}/loose", expected)
        write_tar(f"{folder}/all.tar", files)
        check(f"{folder}/all.tar", expected)
        with zipfile.ZipFile(f"{folder}/all.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        check(f"{folder}/all.zip", expected)


@pytest.mark.parametrize(
    "content", [b"[1]", b'"a"', b"3", b"{", b"\xff", b"[" * 50_000]
)
def test_an_odd_caption_stops_nothing(tmp_path, content):
    write(tmp_path, {"a.png": PICTURE, "a.json": content})
    write(tmp_path, {"b.png": PICTURE, "b.txt": b"other"})
    captions, reasons = loaded(tmp_path)
    assert list(captions) == ["b.png"]
    assert reasons == {"a.png": "unreadable caption"}


@pytest.mark.parametrize("prefix", ["./", "set\\", "set/./"])
def test_names_in_archives_are_compared_as_they_are_meant(tmp_path, prefix):
    files = {prefix + name: content for name, content in FILES.items()}
    table = "\n".join(
        json.dumps({"file_name": f"{n}.png", "text": n}) for n in "abc"
    )
    write_tar(tmp_path / "s.tar", files)
    captions, reasons = loaded(tmp_path / "s.tar")
    assert [texts for texts in captions.values()] == [["a"], ["b"], ["c"]]
    assert not reasons
    pictures = {n: c for n, c in files.items() if n.endswith("png")}
    pictures[prefix + "metadata.jsonl"] = table.encode()
    write_tar(tmp_path / "t.tar", pictures)
    assert loaded(tmp_path / "t.tar") == (captions, {})


def test_folder_with_sidecars(tmp_path):
    files = {f"{n}.png": png(color) for n, color in COLORS.items()}
    files |= {f"{n}.txt": f"a {n} wall\nsecond\n".encode() for n in COLORS}
    write(tmp_path, files)
    pairs = load_image_text(tmp_path, image_size=8)
    check_colors(pairs)
    assert pairs.rows[0]["texts"] == ["a blue wall", "second"]
    rows = list(pairs.iterate_rows(all_captions=True))
    assert [row["text"] for row in rows[:2]] == ["a blue wall", "second"]
    np.testing.assert_array_equal(rows[0]["image"], rows[1]["image"])


def test_a_table_describes_its_own_folder_and_those_below(tmp_path):
    table = b"file_name,text\na.png,one\n../b/c.png,three\n"
    files = {"a.png": PICTURE, "below/x.png": PICTURE, "below/x.txt": b"x"}
    write(tmp_path / "a", {**files, "metadata.csv": table})
    write(tmp_path / "b", {**FILES, "note.txt": b"of no picture"})
    expected = {"a/a.png": ["one"], "b/a.png": ["a"], "b/b.png": ["b"]}
    reasons = {"a/below/x.png": "no caption"}
    assert loaded(tmp_path) == ({**expected, "b/c.png": ["three"]}, reasons)
    (tmp_path / "b/b.txt").unlink()
    assert loaded(tmp_path)[1] == {**reasons, "b/b.png": "no caption"}
