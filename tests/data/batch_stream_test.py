import multiprocessing
import signal

import grain
import keras
import numpy as np
import pytest

from keras_muse.data import ImageTextDataset
from keras_muse.data import processes
from keras_muse.data.batch_stream import BatchStream
from keras_muse.models.muse_model import MuseModel
from tests.helpers.picture_rows import epoch_ids
from tests.helpers.picture_rows import ids
from tests.helpers.picture_rows import make_rows


class Numbers(BatchStream):
    def batch(self, step):
        return step


@pytest.fixture
def handler():
    """What Ctrl-C does here; the end of the test brings it back."""
    handler = signal.getsignal(signal.SIGINT)
    yield handler
    signal.signal(signal.SIGINT, handler)


def test_control_c_ends_no_process_that_loads_data(handler, monkeypatch):
    """A pool would wait for it for ever."""
    stream = Numbers(steps_per_epoch=3)
    assert stream[1] == 1
    assert signal.getsignal(signal.SIGINT) is handler
    worker = multiprocessing.current_process()
    monkeypatch.setattr(worker, "_name", f"Keras_worker_{worker.name}")
    assert stream[2] == 2
    signal.raise_signal(signal.SIGINT)


# === In which order `fit` of our models takes the rows ===


class Level(MuseModel):
    """Learns the mean of pictures."""

    def __init__(self):
        super().__init__()
        self.value = self.add_weight(shape=(), initializer="zeros")
        self.built = True
        self.compile(keras.optimizers.SGD(0.25))

    def predict_outputs(self, inputs):
        return keras.ops.cast(inputs, "float32")

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


def test_processes_train_and_evaluate_on_parts_of_batches(level, monkeypatch):
    process = grain.sharding.ShardOptions(1, 2)
    monkeypatch.setattr(processes, "this_process", lambda: process)

    class Spy(ImageTextDataset):
        def batch(self, step):
            rows = super().batch(step)
            self.seen.append(ids(rows))
            return rows

    pairs = Spy(make_rows(8), image_size=4, batch_size=4)
    held_out = Spy(make_rows(8), image_size=4, batch_size=8)
    pairs.seen, held_out.seen = [], []
    level.fit(
        pairs.images,
        validation_data=held_out.images,
        shuffle=False,
        verbose=0,
    )
    assert pairs.seen[-2:] == [[2, 3], [6, 7]]
    assert held_out.seen[-1] == [4, 5, 6, 7]
    level.evaluate(pairs.images, verbose=0)
    assert pairs.seen[-2:] == [[2, 3], [6, 7]]
    # What is drawn or tokenized is whole in each process.
    level.predict(held_out.images, verbose=0)
    assert held_out.seen[-1] == list(range(8))


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


@pytest.mark.parametrize("value", [1.5, "x", None, -1, True])
def test_a_place_in_the_stream_is_a_number(value):
    pairs = ImageTextDataset(make_rows(8), image_size=4, batch_size=2)
    for name in ("step", "epoch"):
        with pytest.raises(ValueError, match=f"`{name}` must be an integer"):
            setattr(pairs, name, value)
    pairs.step = np.int64(2)
    assert pairs.step == 2 and pairs.epoch == 0


def test_a_fit_of_few_steps_leaves_the_dataset_as_long_as_it_was(level):
    pairs = ImageTextDataset(make_rows(8), image_size=4, batch_size=2)
    level.fit(pairs.images, steps_per_epoch=3, verbose=0)
    assert len(pairs) == 4 and pairs.step == 3
