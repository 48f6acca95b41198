import pytest

from keras_muse.files.json_files import check_file_name
from keras_muse.files.json_files import read_object


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.json"


def test_an_object(path):
    path.write_text('{"a": 1, "b": {"c": []}}')
    expected = {"a": 1, "b": {"c": []}}
    assert read_object(path, a=(int, float), b=dict) == expected


@pytest.mark.parametrize(
    "contents", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000]
)
def test_what_is_none(contents, path):
    path.write_bytes(contents)
    with pytest.raises(ValueError, match="/some.json`"):
        read_object(path)


def test_a_file_that_is_not_there(path):
    with pytest.raises(ValueError, match="/some.json"):
        read_object(path)


@pytest.mark.parametrize("value", ["true", "null", '"1"', "[1]", "1.5"])
def test_entries_of_other_types(value, path):
    path.write_text(f'{{"a": {value}}}')
    with pytest.raises(ValueError, match="`a` in .*/some.json` must be .*int"):
        read_object(path, a=int)
    with pytest.raises(ValueError, match="/some.json` has no `b`"):
        read_object(path, b=int)


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "/a", "a\\b", 3, None])
def test_names_of_files_elsewhere(name):
    check_file_name("a.safetensors", "index.json")
    with pytest.raises(ValueError, match="index.json.*beside it"):
        check_file_name(name, "index.json")
