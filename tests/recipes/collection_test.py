"""What is read, said and refused before any work."""

import json

import pytest
from PIL import Image

import keras_muse
from keras_muse.data import hold_out
from keras_muse.recipes.collection import FEWEST
from keras_muse.recipes.collection import read_collection


def write_pictures(folder, number, captions=None, size=(8, 12), red=None):
    folder.mkdir(exist_ok=True)
    for i in range(number):
        colour = (i if red is None else red, 2 * i, 255 - i)
        Image.new("RGB", size, colour).save(folder / f"{i}.png")
        text = captions or f"a wall of colour {i}"
        (folder / f"{i}.txt").write_text(text)
    return folder


def test_a_folder_is_read_and_parted(tmp_path, capsys):
    folder = write_pictures(tmp_path / "pictures", 100)
    (folder / "3.txt").unlink()
    (folder / "4.png").write_text("no picture")
    collection = read_collection(folder)
    parts = [collection.train, collection.held_out]
    names = [{row["name"] for row in part.rows} for part in parts]
    assert len(names[0] | names[1]) == 98 and not names[0] & names[1]
    assert 1 <= len(names[1]) < 30
    assert collection.side == 8
    said = capsys.readouterr().out
    assert f"{len(names[0])} pictures of about 8 pixels" in said
    assert "Skipped, no caption: 3.png" in said
    assert "Skipped, broken picture: 4.png" in said
    # Another collection has another fingerprint; the same has the same.
    again = read_collection(folder)
    assert again.fingerprint() == collection.fingerprint()
    (folder / "5.txt").write_text("a door")
    captioned = read_collection(folder).fingerprint()
    assert captioned != collection.fingerprint()
    # So does another picture under a name that was there.
    (folder / "6.png").write_bytes((folder / "7.png").read_bytes())
    assert read_collection(folder).fingerprint() != captioned


def with_splits(folder, splits):
    lines = [
        json.dumps({"file_name": f"{i}.png", "text": f"{i}", "split": split})
        for i, split in enumerate(splits)
    ]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def texts(pairs):
    return sorted(pairs.texts)


def test_other_splits_are_never_trained_on(tmp_path, capsys):
    """However few there are, and whatever else is given as held out."""
    few = write_pictures(tmp_path / "few", 6)
    with_splits(few, ["train", "test", "train", "test", "train", "val"])
    collection = read_collection(few, fewest=1)
    assert texts(collection.train) == ["0", "2", "4"]
    assert texts(collection.held_out) == ["1", "3", "5"]
    assert "3 others are held out, by their `split`" in capsys.readouterr().out
    given = write_pictures(tmp_path / "given", 2, red=99)
    collection = read_collection(few, given, fewest=1)
    assert texts(collection.train) == ["0", "2", "4"]
    assert texts(collection.held_out) == [f"a wall of colour {i}" for i in "01"]
    assert "2 others are held out, as given" in capsys.readouterr().out
    with pytest.raises(ValueError, match="at least 4 .*Received: 3 pictures"):
        read_collection(few, fewest=4)
    with_splits(few, ["test"] * 6)
    with pytest.raises(ValueError, match="split 'train'.*6 rows of other"):
        read_collection(few, fewest=1)


def test_what_is_held_out_is_not_trained_on_under_another_name(
    tmp_path, capsys
):
    folder = write_pictures(tmp_path / "pictures", 6)
    given = tmp_path / "given"
    given.mkdir()
    (given / "other.png").write_bytes((folder / "2.png").read_bytes())
    (given / "other.txt").write_text("the same wall")
    collection = read_collection(folder, given, fewest=1)
    names = [row["name"] for row in collection.train.rows]
    assert names == ["0.png", "1.png", "3.png", "4.png", "5.png"]
    assert "1 pictures are among those held out" in capsys.readouterr().out
    with pytest.raises(ValueError, match="some that are not held out.*6 pict"):
        read_collection(folder, folder, fewest=1)
    # A column `split` parts rows, and a copy may be on both sides.
    (folder / "5.png").write_bytes((folder / "0.png").read_bytes())
    with_splits(folder, ["train"] * 5 + ["test"])
    collection = read_collection(folder, fewest=1)
    assert texts(collection.train) == ["1", "2", "3", "4"]


def test_what_is_measured_on_can_be_decoded(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 6)
    given = write_pictures(tmp_path / "given", 2, size=(64, 64), red=99)
    whole = (given / "1.png").read_bytes()
    (given / "1.png").write_bytes(whole[:-30])
    with pytest.warns(UserWarning, match="'1.png' is skipped"):
        collection = read_collection(folder, given, fewest=1)
    assert [row["name"] for row in collection.held_out.rows] == ["0.png"]
    (given / "0.png").write_bytes(whole[:-30])
    with (
        pytest.warns(UserWarning, match="is skipped"),
        pytest.raises(ValueError, match="`held_out` must have pictures"),
    ):
        read_collection(folder, given, fewest=1)
    none = keras_muse.data.load_image_text(folder).select([])
    with pytest.raises(ValueError, match="`held_out` must have pictures"):
        read_collection(folder, none, fewest=1)


def test_pictures_of_many_sizes_are_held_out_too(tmp_path, capsys):
    folder = write_pictures(tmp_path / "pictures", 40)
    for i in range(40):
        Image.new("RGB", (8 + i, 50 - i), (i, 0, 9)).save(folder / f"{i}.png")
    collection = read_collection(folder, fewest=1)
    parts = collection.train, collection.held_out
    assert sum(part.num_examples for part in parts) == 40
    assert "others are held out, chosen by a hash" in capsys.readouterr().out
    for part in parts:
        sizes = {part.picture_size(i) for i in range(part.num_examples)}
        assert len(sizes) == part.num_examples and part.image_size is None


def test_of_few_pictures_each_is_decoded(tmp_path):
    """A sheet of them might have none of the others."""
    folder = write_pictures(tmp_path / "pictures", 6, size=(64, 64))
    for i in range(5):
        whole = (folder / f"{i}.png").read_bytes()
        (folder / f"{i}.png").write_bytes(whole[:-30])
    with pytest.warns(UserWarning, match="is skipped"):
        collection = read_collection(folder, fewest=1)
    assert texts(collection.train) == ["a wall of colour 5"]
    with (
        pytest.warns(UserWarning, match="is skipped"),
        pytest.raises(ValueError, match="at least 2 .*Received: 1 pictures"),
    ):
        read_collection(folder, fewest=2)
    (folder / "5.png").unlink()
    with (
        pytest.warns(UserWarning, match="is skipped"),
        pytest.raises(ValueError, match="`pictures` .* decoded.*5 pictures"),
    ):
        read_collection(folder, fewest=1)


def test_so_many_must_be_left_to_train_on(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 6)
    with_splits(folder, ["train"] * 6)
    given = write_pictures(tmp_path / "given", 4)
    with pytest.raises(ValueError, match="at least 3 .*Received: 2 pictures"):
        read_collection(folder, given, fewest=3)


def test_what_is_held_out_by_a_hash_counts(tmp_path):
    folder = write_pictures(tmp_path / "pictures", FEWEST)
    collection = read_collection(folder)
    parts = [collection.train, collection.held_out]
    assert sum(part.num_examples for part in parts) == FEWEST


def test_augmented_pictures_are_refused_at_once(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 4)
    plain = keras_muse.data.load_image_text(folder)
    augmented = keras_muse.data.load_image_text(
        folder, image_size=8, augment=True
    )
    with pytest.raises(ValueError, match="`held_out` must not be augmented"):
        read_collection(plain, augmented, fewest=1)
    with pytest.raises(ValueError, match="`pictures` must not .*enlarge"):
        keras_muse.train(augmented, tmp_path / "out", preset="muse_emoji")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pictures", [[1], b"abc", None, 5])
def test_what_is_no_collection_is_named(pictures):
    with pytest.raises(ValueError, match="`pictures` must be"):
        read_collection(pictures)


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_some_are_held_out_by_any_hash(tmp_path, fraction, monkeypatch, capsys):
    """But of copies of one picture: they stay together, and some are left."""
    folder = write_pictures(tmp_path / "pictures", 20, "a wall")
    (folder / "5.png").write_bytes((folder / "6.png").read_bytes())
    monkeypatch.setattr(hold_out, "digest_fraction", lambda _: fraction)
    collection = read_collection(folder, fewest=1)
    assert collection.held_out.num_examples in (1, 2)
    digests = set(collection.held_out.digests)
    assert digests == {min([*digests, *collection.train.digests])}
    assert not digests & set(collection.train.digests)
    for path in folder.glob("*.png"):
        path.write_bytes((folder / "0.png").read_bytes())
    capsys.readouterr()
    collection = read_collection(folder, fewest=1)
    assert collection.train.num_examples == 20
    assert collection.held_out is None
    assert "They are copies of one picture" in capsys.readouterr().out


def test_why_none_is_held_out(tmp_path, capsys):
    folder = write_pictures(tmp_path / "pictures", 21, size=(64, 64))
    with_splits(folder, ["train"] * 21)
    assert read_collection(folder, fewest=1).held_out is None
    assert "All are of the `split` 'train'" in capsys.readouterr().out
    with_splits(folder, [""] * 21)
    assert read_collection(folder, fewest=1).held_out is not None
    assert "chosen by a hash" in capsys.readouterr().out
    with_splits(folder, ["train"] * 20 + ["test"])
    whole = (folder / "20.png").read_bytes()
    (folder / "20.png").write_bytes(whole[:-30])
    with pytest.warns(UserWarning, match="is skipped"):
        assert read_collection(folder, fewest=1).held_out is None
    said = capsys.readouterr().out
    assert "no picture of another `split` is whole" in said
    few = write_pictures(tmp_path / "few", 3)
    read_collection(few, fewest=1)
    assert "They are too few to hold any out" in capsys.readouterr().out


def test_a_long_caption_is_said_in_few_words(tmp_path, capsys):
    folder = write_pictures(tmp_path / "pictures", 3, "wall " * 1000)
    read_collection(folder, fewest=1)
    assert len(capsys.readouterr().out) < 1000


def test_one_caption_for_all_is_said(tmp_path, capsys):
    read_collection(write_pictures(tmp_path / "pictures", 60, "a wall"))
    assert "the same caption" in capsys.readouterr().out


def test_what_cannot_be_trained_on_is_refused(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="empty folder. Put a .txt"):
        read_collection(empty)
    with pytest.raises(FileNotFoundError, match="`pictures`.*nowhere"):
        read_collection(tmp_path / "nowhere")
    few = write_pictures(tmp_path / "few", 10)
    with pytest.raises(ValueError, match="at least 50.*lora.*10 pictures"):
        read_collection(few)
    for caption in few.glob("*.txt"):
        caption.unlink()
    (few / "captions.csv").write_text("file_name,text\n0.png,a wall")
    with pytest.raises(
        ValueError, match="Put a .txt.*a .csv .* itself.*no picture with a cap"
    ):
        read_collection(few)
    table = read_collection(few / "captions.csv", fewest=1)
    assert texts(table.train) == ["a wall"]
    broken = write_pictures(tmp_path / "broken", 2)
    for picture in broken.glob("*.png"):
        picture.write_text("no picture")
    with pytest.raises(ValueError, match="^`path` .*'broken picture': 2"):
        read_collection(broken)


def test_nothing_is_made_of_what_is_refused(tmp_path):
    few = write_pictures(tmp_path / "few", 10)
    with pytest.raises(ValueError, match="at least 50"):
        keras_muse.train(few, tmp_path / "out")
    assert not (tmp_path / "out").exists()
