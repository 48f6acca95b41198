import pytest

from keras_muse.data import load_image_text


def test_limits_are_positive(tmp_path):
    for name in ("max_pixels", "max_bytes", "max_line_bytes"):
        with pytest.raises(ValueError, match=f"{name}=0"):
            load_image_text(tmp_path, **{name: 0})
