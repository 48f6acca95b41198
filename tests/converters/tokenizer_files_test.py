import pytest

from keras_muse.converters import tokenizer_files

NAMES = ["tokenizer.json", "vocab.txt"]


def write(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("x")


def find(preset, folder=""):
    return tokenizer_files.find(str(preset), folder, NAMES)


def test_it_lies_beside_the_model_the_preferred_name_first(tmp_path):
    write(tmp_path, "vocab.txt")
    assert find(tmp_path) == str(tmp_path / "vocab.txt")
    write(tmp_path, "tokenizer.json")
    assert find(tmp_path) == str(tmp_path / "tokenizer.json")


def test_a_pipeline_keeps_it_next_to_the_model(tmp_path):
    write(tmp_path / "tokenizer", *NAMES)
    found = find(tmp_path, "text_encoder")
    assert found == str(tmp_path / "tokenizer" / "tokenizer.json")
    # What lies beside the model is nearer.
    write(tmp_path / "text_encoder", "vocab.txt")
    found = find(tmp_path, "text_encoder")
    assert found == str(tmp_path / "text_encoder" / "vocab.txt")


def test_what_is_not_there_is_named(tmp_path):
    write(tmp_path, "other.txt")
    assert find(tmp_path) is None
    with pytest.raises(ValueError, match="no tokenizer.*'vocab.txt'.*preset="):
        tokenizer_files.find_required(str(tmp_path), "", NAMES)
