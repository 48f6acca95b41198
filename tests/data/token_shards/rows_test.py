import grain
import numpy as np
import pytest

from keras_muse.data import load_image_text
from keras_muse.data import read_token_shards
from keras_muse.data.token_shards.rows import Collection
from tests.helpers.token_shards import make_rows
from tests.helpers.token_shards import order
from tests.helpers.token_shards import picture
from tests.helpers.token_shards import picture_folder
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


def test_half_a_character_stops_no_run(tmp_path):
    rows = make_rows(3)
    rows[1]["text"] = ["whole", "\ud83d"]
    report = write(rows, str(tmp_path))
    assert (report["num_records"], report["num_skipped"]) == (2, 1)
    reason = "`text` has half a character: '\\ud83d'"
    assert report["skipped"] == [{"row": 1, "reason": reason}]


def test_a_caption_may_be_a_scalar_of_numpy(tmp_path):
    rows = make_rows(2)
    rows[0]["text"] = np.array("a red cat")
    rows[1]["text"] = np.array(b"no text")
    report = write(rows, str(tmp_path))
    assert [skipped["row"] for skipped in report["skipped"]] == [1]


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


def prepare(row, image, captions):
    return row, int(image[0, 0, 0]), captions


def of_process(collection, index, count):
    process = grain.sharding.ShardOptions(index, count)
    return {n: list(rows) for n, rows in collection.shards(process)}


def test_an_index_does_not_change_the_rows(tmp_path):
    """Names aside, which an iterable has none of."""
    folder = picture_folder(tmp_path / "pictures", 5)
    indexed = of_process(Collection(folder, 2, prepare), 0, 1)
    walked = of_process(Collection(make_rows(5), 2, prepare), 0, 1)
    assert [len(rows) for rows in indexed.values()] == [2, 2, 1]
    for number, rows in indexed.items():
        assert [row["name"] for row in rows] == [
            f"{row['row']}.png" for row in rows
        ]
        nameless = [{**row, "name": None} for row in rows]
        assert nameless == walked[number]


@pytest.mark.parametrize("is_indexed", [False, True])
def test_processes_share_the_shards(tmp_path, is_indexed):
    pairs = make_rows(7)
    if is_indexed:
        pairs = picture_folder(tmp_path / "pictures", 7)

    def collection():
        return Collection(pairs, 2, prepare)

    whole = of_process(collection(), 0, 1)
    parts = [of_process(collection(), i, 3) for i in range(3)]
    assert [list(part) for part in parts] == [[0, 3], [1], [2]]
    assert {n: rows for part in parts for n, rows in part.items()} == whole


def test_a_fingerprint_follows_names_captions_and_size(tmp_path):
    def fingerprint(pairs):
        return Collection(pairs, 2, prepare).fingerprint

    pairs = picture_folder(tmp_path / "pictures", 3)
    known = fingerprint(pairs)
    assert fingerprint(load_image_text(tmp_path / "pictures", 8)) == known
    others = [
        pairs.select([0, 1]),
        pairs.resized((4, 4)),
        pairs.map_texts(str.upper),
    ]
    (tmp_path / "pictures/0.png").rename(tmp_path / "pictures/3.png")
    (tmp_path / "pictures/0.txt").rename(tmp_path / "pictures/3.txt")
    others.append(load_image_text(tmp_path / "pictures", 8))
    assert len({known, *map(fingerprint, others)}) == 5
    assert fingerprint(make_rows(3)) is None
