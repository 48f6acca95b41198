"""Batches: order, captions, epochs, broken pictures, training on them."""

import collections
import contextlib
import dataclasses
import functools
import io
import threading

import keras
import numpy as np
import pytest
from PIL import Image

from keras_muse.data import ImageTextDataset
from keras_muse.data.sources import Row
from keras_muse.models.muse_model import MuseModel
from tests.helpers.collections import PICTURE


def picture(value, size=(4, 4)):
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, "uint8")).save(buffer, "PNG")
    return buffer.getvalue()


def give(content):
    return content


def make_rows(num_rows, num_captions=1):
    return [
        Row(
            name=f"{index}.png",
            texts=tuple(f"{index} c{c}" for c in range(num_captions)),
            read=functools.partial(give, picture(index)),
            metadata={"kind": "rare" if index == 0 else "common"},
        )
        for index in range(num_rows)
    ]


def ids(batch):
    """The rows in a batch, checked against their captions."""
    values = batch["image"][:, 0, 0, 0].tolist()
    assert values == [int(text.split()[0]) for text in batch["text"]]
    return values


def epoch_ids(pairs):
    return [i for batch in pairs for i in ids(batch)]


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
    pairs.epoch += 1
    second = list(pairs)
    assert first[0]["text"] != second[0]["text"]
    assert make(2)[0]["text"] != first[0]["text"]
    resumed = make(1)
    resumed.epoch = 1
    # Batches do not depend on those drawn before them.
    assert resumed[1]["text"] == second[1]["text"]
    assert resumed[0]["text"] == second[0]["text"]


def test_balance_draws_uniformly_over_a_column():
    pairs = ImageTextDataset(
        make_rows(40), image_size=4, shuffle=True, balance="kind"
    )
    drawn = epoch_ids(pairs)
    assert len(drawn) == 40
    assert drawn.count(0) == 20  # half, as one of two kinds
    assert len(set(drawn)) > 8
    with pytest.raises(ValueError, match="shuffle"):
        ImageTextDataset(make_rows(4), balance="kind")
    with pytest.raises(ValueError, match="`balance` must be a column"):
        ImageTextDataset(make_rows(4), shuffle=True, balance="color")


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


def test_select_evenly():
    pairs = ImageTextDataset(make_rows(10), image_size=4)
    assert pairs.select_evenly(4).texts == ["0 c0", "2 c0", "5 c0", "7 c0"]
    assert pairs.select_evenly(10).texts == pairs.texts
    assert pairs.select_evenly(11).texts == pairs.texts
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"`num_rows`.*={wrong}"):
            pairs.select_evenly(wrong)


def hold_out(rows, share):
    pairs = ImageTextDataset(rows, image_size=4)
    return [
        [row["name"] for row in part.rows] for part in pairs.hold_out(share)
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


def test_a_column_split_decides_what_is_held_out():
    rows = [
        dataclasses.replace(row, metadata={"split": split})
        for row, split in zip(
            make_rows(4), ("train", "test", "train", "validation"), strict=True
        )
    ]
    assert hold_out(rows, 0.0) == [["0.png", "2.png"], ["1.png", "3.png"]]


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


@pytest.mark.parametrize("workers", [1, 2])
def test_fit_on_images(workers):
    """A model that learns pictures alone sees every one of them each epoch."""
    seen = []

    class Mean(keras.Model):
        def __init__(self):
            super().__init__()
            self.value = self.add_weight(shape=(), initializer="zeros")

        def call(self, images):
            return images * 0 + self.value

        def compute_loss(self, x, y, y_pred, *args, **kwargs):
            return keras.ops.mean((keras.ops.cast(x, "float32") - y_pred) ** 2)

    class Spy(ImageTextDataset):
        def __getitem__(self, index):
            batch = super().__getitem__(index)
            seen.append((self.epoch, ids(batch)))
            return batch

    pairs = Spy(
        make_rows(8), image_size=4, batch_size=4, shuffle=True, workers=workers
    )
    model = Mean()
    model.compile(optimizer=keras.optimizers.SGD(0.25))
    history = model.fit(pairs.images, epochs=1, verbose=0)
    first_loss = history.history["loss"][0]
    seen.clear()
    history = model.fit(pairs.images, epochs=4, verbose=0)
    assert history.history["loss"][-1] < 0.7 * first_loss
    # Before these four, Keras may look at a batch to build the model.
    for epoch in range(pairs.epoch - 4, pairs.epoch):
        rows = [i for when, batch in seen if when == epoch for i in batch]
        assert sorted(rows) == list(range(8))


# === In which order `fit` of our models takes the rows ===


class Level(MuseModel):
    """Learns the mean of pictures."""

    def __init__(self):
        super().__init__()
        self.value = self.add_weight(shape=(), initializer="zeros")
        self.built = True
        self.compile(keras.optimizers.SGD(0.25))

    def loss_inputs(self, inputs, training):
        return keras.ops.cast(inputs, "float32") - self.value

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        return keras.ops.mean(y_pred**2)


@pytest.fixture(scope="module")
def level():
    return Level()


def trained_on(model, shuffle=None, seed=0, epochs=2, **kwargs):
    """The rows of each epoch of `fit`, and the dataset."""
    pairs = ImageTextDataset(
        make_rows(8), image_size=4, batch_size=4, shuffle=shuffle, seed=seed
    )
    steps = {}
    batch = pairs.batch
    pairs.batch = lambda step: steps.setdefault(step, batch(step))
    model.fit(pairs.images, epochs=epochs, verbose=0, **kwargs)
    pairs.batch = batch
    rows = [row for step in sorted(steps) for row in ids(steps[step])]
    return [rows[i * 8 : (i + 1) * 8] for i in range(epochs)], pairs


def test_what_is_trained_on_is_shuffled_anew_in_each_epoch(level):
    (first, second), pairs = trained_on(level)
    assert sorted(first) == sorted(second) == list(range(8))
    assert first != second and list(range(8)) not in (first, second)
    assert trained_on(level)[0] == [first, second]
    assert trained_on(level, seed=1)[0] != [first, second]
    assert trained_on(level, shuffle=True)[0] == [first, second]
    # To look at, to evaluate and to tokenize, it is in the file's order.
    assert epoch_ids(pairs) == list(range(8))
    assert [row["text"] for row in pairs.iterate_rows()] == pairs.texts
    assert not pairs.is_shuffled


def test_validation_is_in_the_order_of_the_file(level):
    held_out = ImageTextDataset(make_rows(8), image_size=4, batch_size=4)
    seen = []
    batch = held_out.batch
    held_out.batch = lambda step: seen.append(ids(batch(step))) or batch(step)
    trained_on(level, validation_data=held_out.images, epochs=1)
    assert seen[-2:] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_fit_decides_where_the_dataset_leaves_it_open(level):
    pairs = ImageTextDataset(make_rows(8), image_size=4, batch_size=4)
    seen = []
    batch = pairs.batch
    pairs.batch = lambda step: seen.append(ids(batch(step))) or batch(step)
    level.fit(pairs.images, shuffle=False, verbose=0)
    in_order = [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert seen[-2:] == in_order
    level.fit(pairs.images, shuffle=True, verbose=0)
    assert seen[-2:] != in_order


@pytest.mark.parametrize("shuffle", [True, False])
def test_what_fit_cannot_do_is_refused_by_name(level, shuffle):
    pairs = ImageTextDataset(make_rows(8), image_size=4, shuffle=shuffle)
    with pytest.raises(ValueError, match="`shuffle` of `fit` must be that of"):
        level.fit(pairs.images, shuffle=not shuffle, verbose=0)
    level.fit(pairs.images, shuffle=shuffle, verbose=0)


def test_a_fit_of_few_steps_leaves_the_dataset_as_long_as_it_was(level):
    pairs = ImageTextDataset(make_rows(8), image_size=4, batch_size=2)
    level.fit(pairs.images, steps_per_epoch=3, verbose=0)
    assert len(pairs) == 4 and pairs.step == 3


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
