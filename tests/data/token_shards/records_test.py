import json
import os
import shutil

import ml_dtypes
import numpy as np
import pytest

from keras_muse.data import read_token_shards
from keras_muse.data.token_shards.records import pack_record
from keras_muse.data.token_shards.records import read_metadata
from keras_muse.data.token_shards.records import unpack_record
from tests.helpers.token_shards import DIM
from tests.helpers.token_shards import make_rows
from tests.helpers.token_shards import write


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


def test_a_shard_of_another_run_is_refused(shards, tmp_path):
    others = [{**row, "image": row["image"] + 99} for row in make_rows()]
    write(others, str(tmp_path / "others"))
    name = "tokens-00001-of-00003.array_record"
    before = os.path.getsize(os.path.join(shards, name))
    shutil.copy(tmp_path / "others" / name, shards)
    assert os.path.getsize(os.path.join(shards, name)) == before
    with pytest.raises(ValueError, match="is not whole.*00001-of.*another run"):
        read_token_shards(shards, 5)
    # Those that were written before are known by their size.
    path = os.path.join(shards, "metadata.json")
    with open(path) as file:
        metadata = json.load(file)
    for shard in metadata["shards"]:
        del shard["ends"], shard["rows"]
    with open(path, "w") as file:
        json.dump(metadata, file)
    assert read_token_shards(shards, 5).num_records == 10


def test_another_format_version_is_refused(shards):
    path = os.path.join(shards, "metadata.json")
    with open(path) as file:
        metadata = json.load(file)
    with open(path, "w") as file:
        json.dump({**metadata, "format_version": 99}, file)
    with pytest.raises(ValueError, match="`directory`.*format_version=99"):
        read_token_shards(shards, 5)


@pytest.mark.parametrize("high_res", [False, True])
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, "int32"])
def test_what_is_packed_is_unpacked(dtype, high_res):
    generator = np.random.default_rng(0)
    shape = () if dtype == "int32" else (3,)
    texts = [
        (99 * generator.normal(size=(length, *shape))).astype(dtype)
        for length in (2, 5, 1)
    ]
    captions = ["a cat", "two\nlines", "\u732b \U0001f63a"]
    tokens = generator.integers(0, 2**16, (2, 4))
    large = generator.integers(0, 99, (2, 16)) if high_res else None
    found = unpack_record(pack_record(tokens, captions, texts, large))
    np.testing.assert_array_equal(found["token_ids"], tokens)
    assert found["captions"] == captions
    for text, expected in zip(found["texts"], texts, strict=True):
        assert text.dtype == dtype
        np.testing.assert_array_equal(text, expected)
    if high_res:
        np.testing.assert_array_equal(found["high_res_token_ids"], large)
    else:
        assert found["high_res_token_ids"] is None


@pytest.mark.parametrize(
    "largest, dtype", [(65535, "uint16"), (65536, "int32")]
)
def test_ids_take_no_more_bytes_than_they_need(largest, dtype):
    data = pack_record(np.array([[0, largest]]), [""], [np.ones(1, "int32")])
    ids = unpack_record(data)["token_ids"]
    assert ids.dtype == dtype and ids.tolist() == [[0, largest]]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda m: m.update(num_records=9), "records of its shards, 10"),
        (lambda m: m["shards"][0].update(name="../a"), "beside it"),
        (lambda m: m["low_res"].update(grid_size=[2, 0]), "`grid_size`"),
        (lambda m: m["low_res"].update(grid_size=[4]), "`grid_size`"),
        (lambda m: m["text"].update(text_dim=0), "`text_dim`"),
        (lambda m: m["text"].pop("store"), "`store`"),
        (lambda m: m.update(format="another"), "format=another"),
    ],
)
def test_metadata_that_cannot_be_is_refused(shards, change, words):
    path = os.path.join(shards, "metadata.json")
    with open(path) as file:
        metadata = json.load(file)
    change(metadata)
    with open(path, "w") as file:
        json.dump(metadata, file)
    with pytest.raises(ValueError, match=words) as caught:
        read_metadata(shards)
    assert shards in str(caught.value)
