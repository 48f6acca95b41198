"""What is read, said and refused before any work."""

import pytest
from PIL import Image

import keras_muse
from keras_muse.recipes.collection import read_collection


def write_pictures(folder, number, captions=None, size=(8, 12)):
    folder.mkdir(exist_ok=True)
    for i in range(number):
        Image.new("RGB", size, (i, 2 * i, 255 - i)).save(folder / f"{i}.png")
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
    assert read_collection(folder).fingerprint() != collection.fingerprint()


def test_a_style_is_added_to_all_captions(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 10)
    collection = read_collection(folder, style="woodcut", fewest=1)
    assert collection.held_out is None  # ten are too few to part
    assert len(collection.train.texts) == 10
    assert all(t.endswith(", woodcut style") for t in collection.train.texts)


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
    with pytest.raises(ValueError, match="Put a .txt.*no picture with a cap"):
        read_collection(few)


def test_nothing_is_made_of_what_is_refused(tmp_path):
    few = write_pictures(tmp_path / "few", 10)
    with pytest.raises(ValueError, match="at least 50"):
        keras_muse.train(few, tmp_path / "out")
    assert not (tmp_path / "out").exists()
