import os
import shutil

import ml_dtypes
import numpy as np
import pytest

from keras_muse.files.space import check_space
from keras_muse.files.space import hdf5_size
from tests.helpers.full_disk import full_disk


def test_a_disk_with_too_little_room_is_known_before(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    check_space(tmp_path / "a", 1000)
    with pytest.raises(OSError, match="No space left on device.*/a'"):
        check_space(tmp_path / "a", 1001)
    assert os.listdir(tmp_path) == []


def test_a_limit_of_the_process_is_found_too(tmp_path):
    with full_disk(1000):
        check_space(tmp_path / "a", 1000)
        with pytest.raises(OSError, match="File too large.*/a'"):
            check_space(tmp_path / "a", 1001)
    assert os.listdir(tmp_path) == []


def test_an_array_that_is_named_twice_is_stored_once():
    array = np.zeros((10, 10), ml_dtypes.bfloat16)
    once = hdf5_size([array])
    assert hdf5_size([array, array]) == once
    assert hdf5_size([array, array.copy()]) >= once + 200
    assert hdf5_size([np.zeros((10, 20), ml_dtypes.bfloat16)]) == once + 200
