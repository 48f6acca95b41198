import keras
import numpy as np
import pytest
from keras import ops

from keras_muse.models.compiled import compile_function
from keras_muse.models.compiled import map_batches
from keras_muse.models.compiled import pad_rows
from tests.tiny import to_numpy


@pytest.fixture
def model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


def counted(function):
    def count(*args):
        count.traces += 1
        return function(*args)

    count.traces = 0
    return count


def is_traced():
    """Torch runs each call; there is nothing to trace."""
    return keras.config.backend() != "torch"


def test_is_the_function(model):
    x = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
    compiled = compile_function(model, model.call)
    np.testing.assert_allclose(
        to_numpy(compiled(x)), to_numpy(model(x)), rtol=1e-5
    )


def test_takes_and_gives_nested_lists(model):
    def function(pairs, factor):
        return [(a + b) * factor for a, b in pairs]

    compiled = compile_function(model, function)
    one = np.ones(2, "float32")
    result = compiled([(one, one), (one, 2 * one)], np.float32(2))
    assert [to_numpy(r).tolist() for r in result] == [[4, 4], [6, 6]]


def test_follows_the_weights_without_tracing_again(model):
    function = counted(model.call)
    compiled = compile_function(model, function)
    x = np.ones((1, 3), "float32")
    compiled(x)
    for value in (1.0, 2.0, 3.0):
        for weight in model.weights:
            weight.assign(np.full(weight.shape, value))
        np.testing.assert_allclose(to_numpy(compiled(x)), 4 * value)
    if is_traced():
        assert function.traces == 1


def test_new_values_do_not_trace_again(model):
    function = counted(lambda x, step, scale: model(x) * scale + step)
    compiled = compile_function(model, function)
    for step in range(4):
        compiled(
            np.full((2, 3), step, "float32"), np.float32(step), np.float32(0.5)
        )
    if is_traced():
        assert function.traces == 1


def test_has_no_gradient_to_keep(model):
    compiled = compile_function(model, model.call)
    result = compiled(np.ones((1, 3), "float32"))
    assert not getattr(result, "requires_grad", False)


@pytest.mark.parametrize(
    "num_rows, batch_size", [(7, 3), (6, 3), (2, 5), (1, 1)]
)
def test_batches_are_of_one_size(num_rows, batch_size):
    shapes, done = [], []

    def double(x, y):
        shapes.append(x.shape)
        return ops.convert_to_tensor(2 * x + y[:, None])

    x = np.arange(num_rows * 2, dtype="float32").reshape(num_rows, 2)
    y = np.arange(num_rows, dtype="float32")
    result = map_batches(double, [x, y], batch_size, on_batch=done.append)
    np.testing.assert_array_equal(result, 2 * x + y[:, None])
    assert set(shapes) == {(min(batch_size, num_rows), 2)}
    assert done[-1] == num_rows and sorted(done) == done


def test_rows_are_padded_with_the_first():
    x = np.array([[1, 2], [3, 4]])
    assert pad_rows(x, 4).tolist() == [[1, 2], [3, 4], [1, 2], [1, 2]]
    assert pad_rows(x, 2) is x
