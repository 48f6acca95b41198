"""Which names are those of pictures."""

import pytest

from keras_muse.files.picture_names import is_picture


@pytest.mark.parametrize("ending", [".png", ".PNG", ".jpeg", ".webp", ".gif"])
def test_pictures_in_colours(ending):
    assert is_picture(f"a/b{ending}")


@pytest.mark.parametrize(
    "name", ["a", "a.xyz", "png", "a.mpg", "a.h5", "a.xbm"]
)
def test_what_cannot_be_written_in_colours(name):
    assert not is_picture(name)
