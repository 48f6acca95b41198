import keras
import numpy as np
import pytest

from keras_muse.runtime import batches
from keras_muse.runtime.batches import check_whole_batches
from keras_muse.runtime.batches import dataset_inputs
from keras_muse.runtime.batches import full_batches
from keras_muse.runtime.batches import in_full_batches
from keras_muse.runtime.batches import map_batches


@pytest.mark.parametrize("num_rows", [1, 3, 4, 5])
def test_batches_are_of_one_size_and_have_all_rows(num_rows):
    rows = {
        "a": np.arange(num_rows),
        "b": np.arange(2 * num_rows).reshape(-1, 2),
    }
    seen = []
    for real, batch in full_batches(rows, 2):
        assert batch["a"].shape == (2,) and batch["b"].shape == (2, 2)
        seen += batch["a"][: real.stop - real.start].tolist()
        # The rest are copies of the batch's first row.
        filled = batch["a"][real.stop - real.start :]
        assert (filled == batch["a"][0]).all()
    assert seen == list(range(num_rows))


def test_results_are_those_of_the_rows():
    sizes, done = [], []

    def double(x):
        sizes.append(len(x))
        return 2 * x

    x = np.arange(5)
    result = map_batches(double, [x], 2, on_batch=done.append)
    np.testing.assert_array_equal(result, 2 * x)
    assert sizes == [2, 2, 2] and done == [2, 4, 5]


@pytest.mark.parametrize(
    "num_rows, batch_size, min_rows, size",
    [(1, 4, 0, 1), (1, 4, 3, 3), (5, 4, 9, 4)],
)
def test_few_rows_may_be_filled_up(num_rows, batch_size, min_rows, size):
    sizes = []

    def look(x):
        sizes.append(len(x))
        return x

    x = np.arange(num_rows)
    result = map_batches(look, [x], batch_size, min_rows)
    np.testing.assert_array_equal(result, x)
    assert set(sizes) == {size}


def test_a_function_that_cuts_itself_gets_no_short_batch():
    seen = []

    def encode(x, batch_size):
        seen.append((len(x), batch_size))
        return x + 1

    np.testing.assert_array_equal(
        in_full_batches(encode, np.arange(3), 4), [1, 2, 3]
    )
    np.testing.assert_array_equal(
        in_full_batches(encode, np.arange(5), 4), [1, 2, 3, 4, 5]
    )
    assert seen == [(4, 4), (5, 4)]


class Rows(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        of_an_optional_input = {"A": None}
        return {**of_an_optional_input, "a": np.arange(3) + 3 * index}


def test_the_inputs_of_a_dataset_come_batch_by_batch():
    for dataset in (Rows(), ((x,) for x in (Rows()[0], Rows()[1]))):
        found = [
            {name: x.tolist() for name, x in batch.items()}
            for batch in dataset_inputs(dataset)
        ]
        assert found == [{"a": [0, 1, 2]}, {"a": [3, 4, 5]}]


def test_batches_that_devices_cannot_share_are_refused(monkeypatch):
    monkeypatch.setattr(batches, "num_local_replicas", lambda: 4)
    x = np.zeros((18, 2))
    check_whole_batches(x, 8, num_rows=12)
    for num_rows, last in ((None, 2), (6, 6)):
        with pytest.raises(ValueError, match=f"the last of {last}$"):
            check_whole_batches(x, 8, num_rows=num_rows)
    with pytest.raises(ValueError, match="batches of 3 rows"):
        check_whole_batches(Rows(), None)
