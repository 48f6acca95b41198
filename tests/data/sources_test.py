"""What kinds of collection lie at a path, beside or inside of others."""

import json
import zipfile

import pytest

from keras_muse.data import load_image_text
from tests.helpers.collections import COLORS
from tests.helpers.collections import PICTURE
from tests.helpers.collections import check_colors
from tests.helpers.collections import color_files
from tests.helpers.collections import loaded
from tests.helpers.collections import png
from tests.helpers.collections import write
from tests.helpers.collections import write_tar
from tests.helpers.collections import write_zip


def test_a_tar_beside_loose_pictures(tmp_path):
    write(tmp_path, {"a.png": PICTURE, "a.txt": b"one"})
    write_tar(tmp_path / "s.tar", {"b.png": PICTURE, "b.txt": b"two"})
    assert loaded(tmp_path) == ({"a.png": ["one"], "b.png": ["two"]}, {})


def test_tars_in_folders_of_a_folder(tmp_path):
    write(tmp_path, {"train/x": b"", "val/x": b""})
    for split, text in (("train", b"one"), ("val", b"two")):
        files = {"a.png": PICTURE, "a.txt": text}
        write_tar(tmp_path / split / "s.tar", files)
    captions = {"train/a.png": ["one"], "val/a.png": ["two"]}
    assert loaded(tmp_path) == (captions, {})
    assert loaded(tmp_path, split="val")[0] == {"val/a.png": ["two"]}


def test_archives_in_a_folder_are_read_or_reported(tmp_path):
    write(tmp_path, {"a.png": PICTURE, "a.txt": b"one", "t.tar.gz": b"x"})
    write_zip(tmp_path / "s.zip", {"b.png": PICTURE, "b.txt": b"two"})
    (tmp_path / "sub").mkdir()
    write_tar(tmp_path / "sub/s.tar", {"c.png": PICTURE, "c.txt": b"three"})
    (tmp_path / "gone.tar").symlink_to(tmp_path / "nowhere.tar")
    reasons = {"t.tar.gz": "unread archive", "gone.tar": "missing file"}
    pictures = {"b.png": ["two"], "sub/c.png": ["three"]}
    assert loaded(tmp_path) == ({"a.png": ["one"], **pictures}, reasons)
    # Also where there are archives alone, and inside of one.
    (tmp_path / "a.png").unlink()
    assert loaded(tmp_path) == (pictures, reasons)
    write_zip(
        tmp_path / "outer.zip",
        {"inner.zip": b"x", "d.png": PICTURE, "d.txt": b"four"},
    )
    expected = {"d.png": ["four"]}, {"inner.zip": "unread archive"}
    assert loaded(tmp_path / "outer.zip") == expected


def test_folder_with_splits(tmp_path):
    write(tmp_path / "train", color_files())
    write(
        tmp_path / "test",
        {
            "a.png": png("white"),
            "metadata.jsonl": b'{"file_name": "a.png", "text": "white"}',
        },
    )
    check_colors(load_image_text(tmp_path, image_size=8, split="train"))
    assert load_image_text(tmp_path, split="test").texts == ["white"]
    there = r"`split`.*there are \['test', 'train'\].*split='validation'"
    with pytest.raises(ValueError, match=there):
        load_image_text(tmp_path, split="validation")


@pytest.mark.parametrize("spell", [str.lower, str.title, str.upper])
def test_what_lies_in_a_folder_of_another_split_is_never_trained_on(
    tmp_path, spell
):
    for split in ("train", "test", "valid"):
        files = {"a.png": png("white"), "a.txt": split.encode()}
        write(tmp_path / spell(split), files)
    pairs = load_image_text(tmp_path)
    for share in (0.0, 0.5):
        kept, held_out = pairs.hold_out(share)
        assert kept.texts == ["train"]
        assert held_out.texts == ["test", "valid"]
    # One that was chosen is whole, to be parted by a hash.
    chosen = load_image_text(tmp_path, split=spell("train"))
    assert "split" not in chosen.rows[0]


def test_a_folder_around_all_hides_no_splits(tmp_path):
    """As `zip -r pictures.zip pictures` has it."""
    files = {}
    for split in ("train", "test"):
        name = f"pictures/{split}/a"
        files |= {f"{name}.png": PICTURE, f"{name}.txt": split.encode()}
    write_zip(tmp_path / "all.zip", files)
    write(tmp_path / "folder", files)
    for path in (tmp_path / "all.zip", tmp_path / "folder"):
        kept, held_out = load_image_text(path).hold_out(0.5)
        assert (kept.texts, held_out.texts) == (["train"], ["test"])
    # What lies beside them is of no split, and so none of them is.
    write(tmp_path / "folder/pictures", {"b.png": PICTURE, "b.txt": b"b"})
    assert "split" not in load_image_text(tmp_path / "folder").rows[0]


@pytest.mark.parametrize("names", [("train",), ("train", "red"), ("test",)])
def test_folders_that_are_no_splits_say_nothing(tmp_path, names):
    for name in names:
        write(tmp_path / name, {"a.png": PICTURE, "a.txt": b"a"})
    assert "split" not in load_image_text(tmp_path).rows[0]


def test_a_column_says_more_than_a_folder(tmp_path):
    for folder, split in (("train", "test"), ("test", "train")):
        record = {"file_name": "a.png", "text": folder, "split": split}
        files = {"metadata.jsonl": json.dumps(record).encode()}
        write(tmp_path / folder, {"a.png": PICTURE, **files})
    assert load_image_text(tmp_path).hold_out(0)[0].texts == ["test"]


def test_an_empty_column_says_no_more_than_a_folder(tmp_path):
    record = {"file_name": "a.png", "text": "a", "split": ""}
    files = {"metadata.jsonl": json.dumps(record).encode()}
    for folder in ("train", "test"):
        write(tmp_path / folder, {"a.png": PICTURE, **files})
    kept, held_out = load_image_text(tmp_path).hold_out(0)
    assert [row["name"] for row in kept.rows] == ["train/a.png"]
    assert [row["name"] for row in held_out.rows] == ["test/a.png"]
    chosen = load_image_text(tmp_path, split="test")
    assert [row["name"] for row in chosen.rows] == ["test/a.png"]


def test_where_there_are_no_splits_none_can_be_chosen(tmp_path):
    write(tmp_path, color_files())
    with pytest.raises(ValueError, match="`split`.*are none.*split='train'"):
        load_image_text(tmp_path, split="train")


@pytest.mark.parametrize("name", ["absent", "absent.csv", "absent-*.tar"])
def test_what_is_not_there_is_said(tmp_path, name):
    with pytest.raises(ValueError, match="not there.*Received.*absent"):
        load_image_text(tmp_path / name)


def test_tar_shards_by_pattern(tmp_path):
    for index, (name, color) in enumerate(COLORS.items()):
        caption = {"json": b'{"caption": "a %s wall"}', "txt": b"a %s wall"}
        ending = "json" if index else "txt"
        write_tar(
            tmp_path / f"shard-{index:04d}.tar",
            {
                f"0000{index}.png": png(color),
                f"0000{index}.{ending}": caption[ending] % name.encode(),
            },
        )
    for pattern in ("shard-{0000..0002}.tar", "shard-*.tar", ""):
        check_colors(load_image_text(tmp_path / pattern, image_size=8))
    with pytest.raises(ValueError, match="shard-0003.tar"):
        load_image_text(tmp_path / "shard-{0000..0003}.tar")


def test_tar_and_zip_with_metadata(tmp_path):
    files = color_files()
    check_colors(
        load_image_text(write_tar(tmp_path / "a.tar", files), image_size=8)
    )
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"sub/{name}", content)
    check_colors(load_image_text(tmp_path / "a.zip", image_size=8))
