"""Records by their numbers, over all shards."""

import json
import os

import numpy as np
import pytest

from keras_muse.data.token_shards.records import read_metadata
from keras_muse.data.token_shards.stored import StoredRecords


def test_records_lie_in_their_order_over_the_shards(shards):
    records = StoredRecords(shards, read_metadata(shards))
    found = records.read([9, 0, 4, 3, 4])
    assert [record["captions"] for record in found] == [
        [f"picture number {i}"] for i in (9, 0, 4, 3, 4)
    ]
    for record, i in zip(found, (9, 0, 4, 3, 4), strict=True):
        np.testing.assert_array_equal(record["token_ids"], [[i] * 4])


def test_other_numbers_than_the_metadata_says_are_refused(shards):
    metadata = read_metadata(shards)
    with pytest.raises(ValueError, match="hold 10 records.*num_records=11"):
        StoredRecords(shards, {**metadata, "num_records": 11})


def test_shards_of_a_relative_path_are_found_from_elsewhere(
    shards, tmp_path, monkeypatch
):
    monkeypatch.chdir(shards)
    records = StoredRecords(".", read_metadata("."))
    monkeypatch.chdir(tmp_path)
    assert records.read([9])[0]["captions"] == ["picture number 9"]


def test_a_shard_that_is_gone_is_said_to_be(shards):
    records = StoredRecords(shards, read_metadata(shards))
    path = os.path.join(shards, "tokens-00001-of-00003.array_record")
    os.remove(path)
    with pytest.raises(ValueError, match=f"`{path}`, which is not there any"):
        records.read([4])


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda m: m["low_res"].update(codebook_size=4),
            "from 4 to 4.* 4",
        ),
        (lambda m: m["low_res"].update(grid_size=[3, 3]), r"shape \(1, 4\)"),
        (lambda m: m["text"].update(text_dim=9), r"text is of shape \(4, 4\)"),
        (lambda m: m["text"].update(store="text_ids"), "text is of shape"),
        (lambda m: m.update(high_res=m["low_res"]), "damaged record 4"),
    ],
)
def test_a_record_that_does_not_fit_names_its_shard(shards, change, words):
    metadata = json.loads(json.dumps(read_metadata(shards)))
    change(metadata)
    with pytest.raises(ValueError, match=words) as caught:
        StoredRecords(shards, metadata).read([4])  # a shard's first
    path = os.path.join(shards, "tokens-00001-of-00003.array_record")
    assert f"`{path}` has a damaged record 4" in str(caught.value)
