"""Which rows are never trained on."""

import dataclasses
import functools

import numpy as np
import pytest

from keras_muse.data import ImageTextDataset
from keras_muse.data.hold_out import digest_fraction
from keras_muse.data.hold_out import split_rows
from keras_muse.data.sources import Row
from keras_muse.data.sources.row import content_digest
from tests.helpers.picture_rows import give
from tests.helpers.picture_rows import ids
from tests.helpers.picture_rows import make_rows


def hold_out(rows, share):
    pairs = ImageTextDataset(rows, image_size=4)
    return [
        [row["name"] for row in part.rows] for part in pairs.hold_out(share)
    ]


def with_splits(splits):
    rows = make_rows(len(splits))
    columns = [{} if split is None else {"split": split} for split in splits]
    return [
        dataclasses.replace(row, metadata=metadata)
        for row, metadata in zip(rows, columns, strict=True)
    ]


def test_what_is_held_out_follows_from_the_pictures_alone():
    rows = make_rows(200)
    kept, held_out = hold_out(rows, 0.25)
    assert sorted(kept + held_out) == sorted(row.name for row in rows)
    assert 25 < len(held_out) < 75
    # A picture's fate is its own: other pictures change nothing.
    assert hold_out(rows[:50], 0.25)[1] == [
        name for name in held_out if int(name[:-4]) < 50
    ]
    # A copy stays with its picture, whatever it is called.
    copies = [dataclasses.replace(row, name=f"x{row.name}") for row in rows]
    assert hold_out(rows + copies, 0.25)[1] == held_out + [
        f"x{name}" for name in held_out
    ]
    assert hold_out(rows, 0)[1] == []
    # More to train on never holds out what was trained on.
    assert set(hold_out(rows, 0.1)[1]) < set(held_out)
    with pytest.raises(ValueError, match="`share`.*Received: share=1"):
        hold_out(rows, 1)


def test_of_each_part_some_can_be_held_out_again():
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (400, 2, 2, 3)).astype("uint8")
    rows = [
        Row(f"{index}.png", ("a",), functools.partial(give, picture))
        for index, picture in enumerate(pictures)
    ]
    train, rest = ImageTextDataset(rows, image_size=2).hold_out(0.3)
    parts = [*train.hold_out(0.2), *rest.hold_out(0.5)]
    names = [{row["name"] for row in part.rows} for part in parts]
    assert set().union(*names) == {row.name for row in rows}
    sizes = [len(part) for part in names]
    assert sum(sizes) == 400  # none is in two parts
    np.testing.assert_allclose(sizes, [224, 56, 60, 60], atol=25)
    # And of a part of a part.
    again = [part.num_examples for part in parts[1].hold_out(0.5)]
    assert min(again) > 10


def test_what_is_held_out_is_not_augmented():
    pairs = ImageTextDataset(make_rows(40), image_size=4, augment=True)
    train, held_out = pairs.hold_out(0.5)
    first = held_out[0]
    held_out.epoch += 1
    np.testing.assert_array_equal(held_out[0]["image"], first["image"])
    assert ids(first)
    assert held_out.identity["augment"] is None
    assert train.identity["augment"] and pairs.identity["augment"]


def test_a_column_split_decides_what_is_held_out():
    rows = with_splits(["train", "test", "train", "validation"])
    assert hold_out(rows, 0.0) == [["0.png", "2.png"], ["1.png", "3.png"]]


def test_rows_that_name_no_split_are_trained_on_where_none_is_of_train():
    kept, held_out = hold_out(with_splits([None, "test", " "]), 0.1)
    assert (kept, held_out) == (["0.png", "2.png"], ["1.png"])
    kept, held_out = hold_out(with_splits([None, "train", ""]), 0.1)
    assert (kept, held_out) == (["1.png"], ["0.png", "2.png"])


def test_an_empty_column_split_decides_nothing():
    rows = with_splits([""] * 200)
    assert hold_out(rows, 0.25) == hold_out(make_rows(200), 0.25)


def test_a_picture_stands_for_a_number_of_its_own():
    pictures = np.random.default_rng(0).integers(0, 256, (300, 4, 4, 3))
    pictures = pictures.astype("uint8")
    fractions = [digest_fraction(content_digest(x)) for x in pictures]
    assert len(set(fractions)) == 300
    assert 0 <= min(fractions) < 0.05 and 0.95 < max(fractions) < 1
    assert np.mean(fractions) == pytest.approx(0.5, abs=0.06)


def test_what_cannot_be_read_is_left_to_those_who_decode_it():
    def read():
        raise OSError("gone")

    rows = [dataclasses.replace(make_rows(1)[0], read=read)]
    assert split_rows(rows, 0.99) == ([0], [])
