import keras
import numpy as np
import pytest

from keras_muse.runtime import compiled
from keras_muse.runtime.compiled import compile_function
from tests.helpers.tiny import to_numpy


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


def test_a_holder_compiles_once_and_keeps_the_latest(model, monkeypatch):
    made = []

    def make(model, function):
        made.append(function)
        return function

    monkeypatch.setattr(compiled, "compile_function", make)
    monkeypatch.setattr(compiled.CompiledFunctions, "MAX_SIZE", 2)
    functions = compiled.CompiledFunctions(model)
    for key in ("a", "b", "a", "c"):
        assert functions.get(key, key) == key
    assert made == ["a", "b", "c"] and list(functions) == ["a", "c"]
    functions.get("b", "b")
    assert made[-1] == "b"
    functions.clear()
    assert len(functions) == 0
