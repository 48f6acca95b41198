import numpy as np

from keras_muse.data import read_token_shards
from tests.helpers.token_shards import make_rows
from tests.helpers.token_shards import order
from tests.helpers.token_shards import picture
from tests.helpers.token_shards import write


def test_broken_rows_are_skipped_and_named(tmp_path):
    rows = make_rows(3)
    rows.insert(1, {"image": picture(7), "text": "  "})
    rows.insert(2, {"image": picture(7).astype("float32"), "text": "float"})
    rows.append({"image": None, "text": "no picture", "name": "cat.png"})
    rows.append({"image": picture(9), "text": ["", "kept"]})
    report = write(rows, str(tmp_path))
    assert (report["num_rows"], report["num_records"]) == (7, 4)
    assert report["num_skipped"] == 3
    assert [skipped["row"] for skipped in report["skipped"]] == [1, 2, 5]
    assert report["skipped"][0]["reason"] == "empty caption"
    assert "float32" in report["skipped"][1]["reason"]
    assert report["skipped"][2]["name"] == "cat.png"
    dataset = read_token_shards(str(tmp_path), 4, shuffle=False)
    assert dataset.metadata["report"] == report
    assert order(dataset) == [0, 1, 2, 9]


def test_batches_of_rows_are_taken_too(tmp_path):
    rows = make_rows(6)
    batches = [
        {
            "image": np.stack([row["image"] for row in rows[i : i + 3]]),
            "text": [row["text"] for row in rows[i : i + 3]],
        }
        for i in (0, 3)
    ]
    assert write(batches, str(tmp_path))["num_records"] == 6
    dataset = read_token_shards(str(tmp_path), 6, shuffle=False)
    assert order(dataset) == list(range(6))
