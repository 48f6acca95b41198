"""Batches: order, captions, epochs, broken pictures."""

import collections
import contextlib
import dataclasses
import functools
import threading

import grain
import numpy as np
import pytest
from PIL import Image

from keras_muse.data import ImageTextDataset
from keras_muse.data import load_image_text
from keras_muse.data import processes
from keras_muse.data.sources import Row
from tests.helpers.collections import PICTURE
from tests.helpers.picture_rows import epoch_ids
from tests.helpers.picture_rows import give
from tests.helpers.picture_rows import ids
from tests.helpers.picture_rows import make_rows
from tests.helpers.picture_rows import picture


def test_what_is_printed_says_what_it_is():
    skipped = {"broken picture": ["a.png", "b.png"]}
    pairs = ImageTextDataset(make_rows(10), 4, skipped=skipped)
    assert repr(pairs) == (
        "<ImageTextDataset of 10 pictures, image_size=(4, 4), batch_size=32, "
        "2 skipped>"
    )


def test_file_order():
    pairs = ImageTextDataset(make_rows(10, 2), image_size=4, batch_size=4)
    assert len(pairs) == 3
    assert epoch_ids(pairs) == list(range(10))
    assert all(t.endswith("c0") for batch in pairs for t in batch["text"])
    pairs.epoch += 1
    assert epoch_ids(pairs) == list(range(10))
    with pytest.raises(IndexError):
        pairs[3]


def test_shuffle_is_a_function_of_seed_and_epoch():
    def make(seed):
        return ImageTextDataset(
            make_rows(50, 2), image_size=4, shuffle=True, seed=seed
        )

    pairs = make(1)
    first = list(pairs)
    assert sorted(epoch_ids(pairs)) == list(range(50))
    captions = collections.Counter(t[-2:] for b in first for t in b["text"])
    assert 10 < captions["c0"] < 40
    # A `for` loop leaves the dataset where it is.
    assert pairs.step == 0 and epoch_ids(pairs) == epoch_ids(pairs)
    pairs.epoch += 1
    second = list(pairs)
    assert first[0]["text"] != second[0]["text"]
    assert make(2)[0]["text"] != first[0]["text"]
    resumed = make(1)
    resumed.epoch = 1
    # Batches do not depend on those drawn before them.
    assert resumed[1]["text"] == second[1]["text"]
    assert resumed[0]["text"] == second[0]["text"]


def test_broken_pictures_are_replaced_or_left_out():
    rows = make_rows(8)
    cut = rows[3].read()[:-30]
    rows[3] = Row("3.png", ("3 c0",), functools.partial(give, cut))
    ordered = ImageTextDataset(rows, image_size=4, batch_size=4)
    with pytest.warns(UserWarning, match="'3.png' is skipped"):
        assert epoch_ids(ordered) == [0, 1, 2, 4, 5, 6, 7]
    assert ordered.report == {
        "num_examples": 7,
        "counts": {"broken picture": 1},
        "skipped": {"broken picture": ["3.png"]},
    }
    assert len(list(ordered.iterate_rows())) == 7
    images, texts = ordered.as_arrays()
    assert ids({"image": images, "text": texts}) == [0, 1, 2, 4, 5, 6, 7]

    shuffled = ImageTextDataset(rows, image_size=4, batch_size=4, shuffle=True)
    with pytest.warns(UserWarning):
        batches = list(shuffled)
    assert [len(ids(batch)) for batch in batches] == [4, 4]
    assert 3 not in epoch_ids(shuffled)
    assert shuffled.report["counts"] == {"broken picture": 1}


def test_sizes():
    rows = make_rows(2)
    odd = Row("odd.png", ("odd",), functools.partial(give, picture(9, (8, 6))))
    pairs = ImageTextDataset(rows)
    assert pairs[0]["image"].shape == (2, 4, 4, 3)
    with pytest.raises(ValueError, match="`image_size`.*'odd.png'"):
        ImageTextDataset([*rows, odd])[0]
    pairs = ImageTextDataset([*rows, odd], image_size=(2, 6))
    assert pairs[0]["image"].shape == (3, 2, 6, 3)
    for wrong in (0, (1, 2, 3)):
        with pytest.raises(ValueError, match="`image_size`"):
            ImageTextDataset(rows, image_size=wrong)
    with pytest.raises(ValueError, match="`batch_size`"):
        ImageTextDataset(rows, batch_size=0)


def test_select_splits_for_validation():
    pairs = ImageTextDataset(make_rows(10), image_size=4, shuffle=True)
    held_out = pairs.select(range(0, 10, 5))
    assert sorted(epoch_ids(held_out)) == [0, 5]
    assert held_out.texts == ["0 c0", "5 c0"]
    assert sorted(epoch_ids(pairs)) == list(range(10))


def test_a_part_counts_what_it_finds_broken_itself():
    rows = make_rows(3)
    rows[1] = dataclasses.replace(rows[1], read=lambda: b"no picture")
    pairs = ImageTextDataset(rows, image_size=4, skipped={"no caption": ["a"]})
    part = pairs.select([0, 1])
    with pytest.warns(UserWarning, match="is skipped"):
        part.as_arrays()
    skipped = {"no caption": ["a"], "broken picture": ["1.png"]}
    assert part.report["skipped"] == skipped
    # Nobody else's names become more by it.
    assert pairs.report["skipped"] == {"no caption": ["a"]}
    with pytest.warns(UserWarning, match="is skipped"):
        part.select([0])._note_broken(0, "late")
    assert part.report["skipped"] == skipped


def test_select_evenly():
    pairs = ImageTextDataset(make_rows(10), image_size=4)
    assert pairs.select_evenly(4).texts == ["0 c0", "2 c0", "5 c0", "7 c0"]
    assert pairs.select_evenly(10).texts == pairs.texts
    assert pairs.select_evenly(11).texts == pairs.texts
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"`num_rows`.*={wrong}"):
            pairs.select_evenly(wrong)


def test_another_size_and_other_captions():
    rows = make_rows(3, num_captions=2)
    rows[1] = dataclasses.replace(rows[1], read=lambda: b"no picture")
    pairs = ImageTextDataset(rows, image_size=4, batch_size=2)
    assert pairs.picture_size(0) == (4, 4)
    assert pairs.picture_size(1) is None
    assert pairs.resized((2, 6))[1]["image"].shape == (1, 2, 6, 3)
    assert pairs[1]["image"].shape == (1, 4, 4, 3)
    styled = pairs.map_texts(lambda text: f"{text}, inked")
    assert styled.rows[2]["texts"] == ["2 c0, inked", "2 c1, inked"]
    assert pairs.texts[2] == "2 c0"


# === In which order `fit` of our models takes the rows ===


def broken(name):
    return Row(name=name, texts=("x",), read=lambda: b"no picture")


def test_a_broken_picture_is_counted_once_by_many_threads():
    for _ in range(20):
        pairs = ImageTextDataset([broken("a")], image_size=8)
        start = threading.Barrier(16)

        def look(pairs=pairs, start=start):
            start.wait()
            with contextlib.suppress(UserWarning):
                pairs._image(0, (8, 8))

        threads = [threading.Thread(target=look) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert pairs.report["counts"] == {"broken picture": 1}


@pytest.mark.filterwarnings("ignore:.*is skipped")
def test_a_batch_of_broken_pictures_only(tmp_path):
    good = Row(name="good", texts=("y",), read=lambda: PICTURE)
    pairs = ImageTextDataset(
        [broken("a"), broken("b"), good], image_size=8, batch_size=2
    )
    assert pairs[0]["text"] == ["y"] and pairs[0]["image"].shape[0] == 1
    nothing = ImageTextDataset([broken("a")], image_size=8)
    with pytest.raises(ValueError, match="None of the pictures"):
        nothing[0]


def test_a_look_at_one_picture_says_nothing_of_others(tmp_path):
    for name, side in (("a", 16), ("b", 16), ("c", 32)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(name)
    pairs = load_image_text(tmp_path)
    assert next(pairs.iterate_rows())["image"].shape == (16, 16, 3)
    assert pairs.select([2]).as_arrays()[0].shape == (1, 32, 32, 3)
    with pytest.raises(ValueError, match="`image_size` is needed"):
        pairs.as_arrays()


def test_a_broken_picture_is_counted_once_however_it_is_looked_at():
    rows = make_rows(6)
    rows[2] = dataclasses.replace(rows[2], read=lambda: b"no picture")
    pairs = ImageTextDataset(rows, image_size=4)
    with pytest.warns(UserWarning, match="is skipped"):
        pairs.as_arrays()
    derived = pairs.select([5, 2, -6]).resized(2).map_texts(str.upper)
    for _ in range(2):
        assert derived.as_arrays()[0].shape == (2, 2, 2, 3)
    assert derived.report["num_examples"] == 2
    assert derived.report["skipped"] == {"broken picture": [rows[2].name]}
    # Without it nothing of these is broken.
    assert pairs.select([0, 1]).report["num_examples"] == 2


def test_what_is_handed_out_is_not_what_is_trained_on():
    pairs = ImageTextDataset(make_rows(2), image_size=4)
    expected = pairs.texts
    pairs.rows[0]["texts"].append("another")
    pairs.rows[0]["texts"][0] = "another"
    assert pairs.texts == expected
    assert len(pairs.rows[0]["texts"]) == 1


@pytest.mark.parametrize(
    "function, words",
    [
        (lambda text: "", "`function` must give a caption.*''"),
        (lambda text: None, "`function` must give.*None"),
        (3, "`function` must be a function"),
        (None, "`function` must be a function.*None"),
    ],
)
def test_captions_are_mapped_to_captions(function, words):
    pairs = ImageTextDataset(make_rows(2), image_size=4)
    with pytest.raises(ValueError, match=words):
        pairs.map_texts(function)


def test_a_place_that_is_not_there_is_named():
    pairs = ImageTextDataset(make_rows(2), image_size=4)
    assert pairs.picture_size(-1) == pairs.picture_size(1)
    for index in (2, "a"):
        with pytest.raises(ValueError, match="`index` must be"):
            pairs.picture_size(index)


def test_an_empty_dataset_is_in_its_first_epoch():
    assert ImageTextDataset(make_rows(2), image_size=4).select([]).epoch == 0


# === Processes that train together ===


def as_process(monkeypatch, index, count):
    process = grain.sharding.ShardOptions(index, count)
    monkeypatch.setattr(processes, "this_process", lambda: process)


@pytest.mark.parametrize("augment", [False, True])
def test_processes_share_the_same_batches(monkeypatch, augment):
    def make():
        return ImageTextDataset(
            make_rows(12, 2), 4, batch_size=4, shuffle=True, augment=augment
        )

    alone, pairs = list(make()), make()
    parts = []
    for index in range(2):
        as_process(monkeypatch, index, 2)
        with pairs.images.shared():
            parts.append(list(pairs))
    for whole, *halves in zip(alone, *parts, strict=True):
        assert [len(half["text"]) for half in halves] == [2, 2]
        assert sum((half["text"] for half in halves), []) == whole["text"]
        np.testing.assert_array_equal(
            np.concatenate([half["image"] for half in halves]), whole["image"]
        )
    # Outside, each has all rows.
    assert pairs[0]["text"] == alone[0]["text"]


def test_what_processes_cannot_share_is_refused(monkeypatch):
    as_process(monkeypatch, 0, 2)
    for num_rows, batch_size in ((6, 3), (9, 4)):
        pairs = ImageTextDataset(make_rows(num_rows), 4, batch_size)
        with pytest.raises(ValueError, match="2 processes, batch_size="):
            with pairs.shared():
                pass
    rows = [*make_rows(3), broken("a")]
    pairs = ImageTextDataset(rows, 4, batch_size=4)
    as_process(monkeypatch, 1, 2)
    with pairs.shared(), pytest.warns(UserWarning, match="is skipped"):
        with pytest.raises(ValueError, match="`readable.*'broken picture': 1"):
            pairs[0]
