import re
import types

import keras
import numpy as np
import pytest
import torch

from keras_muse.data.batch_stream import BatchStream
from tests.helpers import tiny


@pytest.fixture(scope="module")
def base():
    model = tiny.tiny_base(num_layers=1)
    model.compile("adam")
    return model


def batches(model, num_batches=3, **changes):
    for _ in range(num_batches):
        yield {**tiny.tiny_data(model, 4), **changes}


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
def test_a_generator_of_batches_trains(base):
    def loss(data, **options):
        return base.evaluate(data, verbose=0, return_dict=True, **options)

    expected = loss(tiny.tiny_data(base, 4))["loss"]
    assert loss(batches(base))["loss"] == pytest.approx(expected, rel=1e-5)
    in_tuples = ((batch,) for batch in batches(base))
    assert loss(in_tuples)["loss"] == pytest.approx(expected, rel=1e-5)
    before = int(base.optimizer.iterations)
    history = base.fit(
        batches(base), validation_data=batches(base), verbose=0
    ).history
    assert int(base.optimizer.iterations) == before + 3  # none is lost
    assert np.isfinite(history["val_loss"]).all()


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("options", [{}, {"validation_steps": 1}])
def test_a_generator_validates_every_epoch(base, options):
    history = base.fit(
        tiny.tiny_data(base, 4),
        validation_data=batches(base),
        epochs=3,
        verbose=0,
        **options,
    ).history
    assert len(history["val_loss"]) == 3
    assert np.isfinite(history["val_loss"]).all()


def test_single_batches_are_checked_too(base):
    data = tiny.tiny_data(base, 4)
    wrong = {**data, "token_ids": data["token_ids"] + 100}
    before = [tiny.to_numpy(v) for v in base.trainable_variables]
    for method in (
        base.train_on_batch,
        base.test_on_batch,
        base.predict_on_batch,
    ):
        with pytest.raises(ValueError, match="`token_ids` must be.*Received"):
            method(wrong)
    for variable, value in zip(base.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(tiny.to_numpy(variable), value)
    assert base.predict_on_batch(data).shape == (4, 16)
    assert np.isfinite(base.test_on_batch(data)).all()


@pytest.mark.parametrize("split", [1.5, 1, -0.1, "half"])
def test_a_part_to_validate_with_is_one(base, split):
    with pytest.raises(ValueError, match="`validation_split`"):
        base.fit(tiny.tiny_data(base, 4), validation_split=split, verbose=0)


def test_the_first_batch_of_a_generator_is_checked(base):
    ids = np.full((4, 16), 99, "int32")
    with pytest.raises(ValueError, match=r"`token_ids` must be .* Received"):
        base.fit(batches(base, token_ids=ids), verbose=0)
    with pytest.raises(ValueError, match=r"missing: \['token_ids'\]") as error:
        base.fit(batches(base, token_ids=None), verbose=0)
    assert "[[" not in str(error.value)  # no array is printed
    with pytest.raises(ValueError, match="`x` must not be empty.*generator"):
        base.fit(batches(base, num_batches=0), verbose=0)


class Rows(torch.utils.data.Dataset):
    """The rows of a dict of arrays, for a `DataLoader`."""

    def __init__(self, arrays):
        self.arrays = arrays

    def __len__(self):
        return len(self.arrays["token_ids"])

    def __getitem__(self, i):
        return {name: x[i] for name, x in self.arrays.items()}


def loader(rows):
    return torch.utils.data.DataLoader(rows, batch_size=4)


def test_a_loader_of_dicts_is_as_the_arrays(base):
    data = tiny.tiny_data(base, 8)
    rows = loader(Rows(data))
    np.testing.assert_array_equal(
        base.predict(rows, verbose=0), base.predict(data, 4, verbose=0)
    )
    np.testing.assert_allclose(
        base.evaluate(rows, verbose=0),
        base.evaluate(data, batch_size=4, verbose=0),
        rtol=1e-6,
    )
    before = int(base.optimizer.iterations)
    history = base.fit(
        rows, validation_data=rows, epochs=2, shuffle=False, verbose=0
    ).history
    assert int(base.optimizer.iterations) == before + 4
    assert np.isfinite(history["val_loss"]).all()
    assert isinstance(next(iter(rows)), dict)  # the user's is as it was


def test_the_first_row_of_a_loader_is_checked(base):
    data = tiny.tiny_data(base, 8)
    wrong = loader(Rows({**data, "token_ids": data["token_ids"] + 100}))
    state = torch.get_rng_state()
    for verb in (base.fit, base.evaluate, base.predict):
        with pytest.raises(ValueError, match="`token_ids` must be .* Received"):
            verb(wrong, verbose=0)
    assert torch.equal(torch.get_rng_state(), state)


class Endless(torch.utils.data.IterableDataset):
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        while True:
            yield from (self.rows[i] for i in range(len(self.rows)))


def test_a_loader_that_has_no_rows_by_number_trains(base):
    rows = loader(Endless(Rows(tiny.tiny_data(base, 8))))
    history = base.fit(
        rows, steps_per_epoch=2, shuffle=False, verbose=0
    ).history
    assert np.isfinite(history["loss"]).all()


class Empty(keras.utils.PyDataset):
    def __len__(self):
        return 0


@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict"])
def test_a_dataset_without_a_batch_is_refused(base, verb):
    with pytest.raises(ValueError, match="`x` must not be empty.*a Empty"):
        getattr(base, verb)(Empty(), verbose=0)
    if verb == "fit":
        data = tiny.tiny_data(base, 4)
        with pytest.raises(ValueError, match="`validation_data` must not be"):
            base.fit(data, validation_data=Empty(), verbose=0)


class Part(BatchStream):
    """As one of two processes reads token shards."""

    _process = 0, 2


def test_where_all_rows_are_wanted_parts_of_them_are_refused(base, monkeypatch):
    job = types.SimpleNamespace(num_processes=2, num_model_replicas=2)
    monkeypatch.setattr(keras.distribution, "distribution", lambda: job)
    with pytest.raises(ValueError, match="all rows.*`process_count=1`"):
        base.predict(Part(steps_per_epoch=1))


@pytest.mark.parametrize(
    "name, value",
    [
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("epochs", "3"),
        ("epochs", -1),
        ("initial_epoch", 1.5),
        ("steps_per_epoch", 0),
        ("validation_steps", True),
        ("validation_batch_size", 0),
        ("validation_split", 1.5),
        ("validation_split", "x"),
        ("validation_freq", 0),
        ("validation_freq", None),
        ("validation_freq", [0]),
    ],
)
def test_numbers_of_rows_and_steps_are_checked(base, name, value):
    received = re.escape(f"{name}={value!r}")
    with pytest.raises(ValueError, match=f"`{name}` must .*{received}"):
        base.fit(tiny.tiny_data(base, 4), verbose=0, **{name: value})


def test_those_of_any_library_are_taken(base):
    history = base.fit(
        tiny.tiny_data(base, 4),
        batch_size=np.int64(4),
        epochs=np.array(2),
        verbose=0,
    ).history
    assert len(history["loss"]) == 2


def test_what_is_not_compiled_says_so():
    model = tiny.tiny_base(num_layers=1)
    data = tiny.tiny_data(model, 4)
    for verb in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
        with pytest.raises(ValueError, match=r"must call `compile\(\)` before"):
            getattr(model, verb)(data)
