"""Which drawn pictures are kept to be looked at."""

import numpy as np
import pytest

from keras_muse.evaluation.kept_pictures import NUM_NEAREST
from keras_muse.evaluation.kept_pictures import NUM_SHOWN
from keras_muse.evaluation.kept_pictures import KeptPictures

TEXTS = [f"row {i}" for i in range(100)]


def pictures(rows, size=2):
    """Each has the number of its row."""
    return np.stack([np.full((size, size, 3), row, "uint8") for row in rows])


class Copies:
    """The later a picture was drawn, the nearer it is to the training's."""

    def __init__(self):
        self.count = 0

    def closest_rows(self, count):
        return list(range(self.count))[::-1][:count]

    def training_pictures(self, rows):
        return {"distances": [-row for row in rows]}


def show(num_rows, copies=None, batch_size=7):
    shown = KeptPictures(num_rows, copies)
    for start in range(0, num_rows, batch_size):
        rows = range(start, min(start + batch_size, num_rows))
        if copies is not None:
            copies.count = rows.stop
        texts = TEXTS[rows.start : rows.stop]
        shown.update(rows, pictures(rows), pictures(rows, 4), texts)
    return shown.results()


@pytest.mark.parametrize("num_rows", [1, 5, NUM_SHOWN, 100])
def test_some_of_all_rows_are_kept_with_their_texts(num_rows):
    found = show(num_rows)["shown"]
    rows = found["rows"]
    assert len(rows) == min(num_rows, NUM_SHOWN)
    assert (rows[0], rows[-1]) == (0, num_rows - 1)
    steps = np.diff(rows)
    assert num_rows == 1 or steps.max() - steps.min() <= 1
    np.testing.assert_array_equal(found["images"], pictures(rows))
    assert found["texts"] == [TEXTS[row] for row in rows]


def test_the_nearest_of_all_batches_are_kept_at_the_size_of_the_data():
    found = show(100, Copies())["nearest"]
    rows = list(range(100))[::-1][:NUM_NEAREST]
    np.testing.assert_array_equal(found["drawn"], pictures(rows, 4))
    assert found["prompts"] == [TEXTS[row] for row in rows]
    assert found["distances"] == [-row for row in rows]
    assert "nearest" not in show(9)
