"""What a row knows of its picture."""

import numpy as np
import pytest

from keras_muse.data.sources.row import Row
from keras_muse.data.sources.row import content_digest


def test_bytes_are_bytes_however_they_lie_in_memory():
    picture = np.random.default_rng(0).integers(0, 256, (4, 4, 3), "uint8")
    known = content_digest(picture.tobytes())
    assert content_digest(picture) == known
    assert content_digest(picture[:, ::-1][:, ::-1]) == known
    assert content_digest(picture[::-1]) != known


@pytest.mark.parametrize("error", [None, OSError("gone")])
def test_a_picture_is_read_once_for_its_hash(error):
    times = []

    def read():
        times.append(1)
        if error:
            raise error
        return b"a picture"

    row = Row("a.png", ("a",), read)
    expected = None if error else content_digest(b"a picture")
    assert row.digest == row.digest == expected
    assert len(times) == 1
