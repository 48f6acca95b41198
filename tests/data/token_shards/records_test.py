import json
import os

import ml_dtypes
import pytest

from keras_muse.data import read_token_shards
from keras_muse.data.token_shards.records import unpack_record
from tests.helpers.token_shards import DIM


def test_text_is_stored_without_padding(shards):
    import grain

    path = os.path.join(shards, "tokens-00000-of-00003.array_record")
    record = unpack_record(grain.sources.ArrayRecordDataSource([path])[1])
    assert record["captions"] == ["picture number 1"]
    (text,) = record["texts"]
    assert (text.dtype, text.shape) == (ml_dtypes.bfloat16, (4, DIM))


def test_a_shard_cut_short_or_missing_is_refused(shards):
    path = os.path.join(shards, "tokens-00001-of-00003.array_record")
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 10)
    with pytest.raises(ValueError, match="`directory` is not whole.*00001-of"):
        read_token_shards(shards, 5)
    os.remove(path)
    with pytest.raises(ValueError, match="`directory` is not whole.*missing"):
        read_token_shards(shards, 5)


def test_another_format_version_is_refused(shards):
    path = os.path.join(shards, "metadata.json")
    with open(path) as file:
        metadata = json.load(file)
    with open(path, "w") as file:
        json.dump({**metadata, "format_version": 99}, file)
    with pytest.raises(ValueError, match="`directory`.*format_version=99"):
        read_token_shards(shards, 5)
