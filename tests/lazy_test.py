import pytest

from keras_muse.lazy import lazy_names


def test_names_and_submodules_are_found():
    get, names = lazy_names("os", {"path": "os.path", "join": "posixpath"})
    import posixpath

    assert get("join") is posixpath.join
    assert names() == ["join", "path"]


def test_unknown_name_is_named():
    get, _ = lazy_names("keras_muse", {})
    with pytest.raises(AttributeError, match="'keras_muse'.*'nothing'"):
        get("nothing")
