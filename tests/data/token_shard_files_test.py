import os

import pytest

from keras_muse.data.token_shards.files import ShardFiles
from tests.helpers.full_disk import full_disk


def test_on_a_full_disk_the_shard_is_named_and_nothing_stays(tmp_path):
    directory = tmp_path / "tokens"
    files = ShardFiles(str(directory), {"collection": None})
    files.start(overwrite=False)
    records = [os.urandom(5000) for _ in range(40)]
    with full_disk(20000), pytest.raises(OSError, match="00002.array_record.*"):
        files.write(2, records, dict)
    assert os.listdir(directory / ".partial") == ["settings.json"]
    assert files.note(2) is None
    # With room again, the same run goes on.
    files.write(2, records, dict)
    assert files.note(2)["num_records"] == 40


def test_an_error_of_what_is_written_is_told_as_it_is(tmp_path):
    files = ShardFiles(str(tmp_path), {"collection": None})
    files.start(overwrite=False)

    def records():
        yield b"first"
        raise RuntimeError("of the encoder")

    with pytest.raises(RuntimeError, match="of the encoder"):
        files.write(0, records(), dict)
    assert os.listdir(tmp_path / ".partial") == ["settings.json"]
