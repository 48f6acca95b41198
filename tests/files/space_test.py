import os
import shutil

import pytest

from keras_muse.files.space import check_space


def test_a_disk_with_too_little_room_is_known_before(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    check_space(tmp_path / "a", 1000)
    with pytest.raises(OSError, match="No space left on device.*/a'"):
        check_space(tmp_path / "a", 1001)
    assert os.listdir(tmp_path) == []
