import keras
import numpy as np
import pytest

import keras_muse
from keras_muse.layers import initializers
from tests.helpers.tiny import tiny_base
from tests.helpers.tiny import to_numpy


@pytest.mark.parametrize(
    "name", ["RandomNormal", "TruncatedNormal", "VarianceScaling"]
)
def test_draws_what_keras_draws(name):
    mine = getattr(initializers, name)(seed=3)
    theirs = getattr(keras.initializers, name)(seed=3)
    np.testing.assert_array_equal(
        to_numpy(mine((4, 8), "float32")), to_numpy(theirs((4, 8), "float32"))
    )
    with initializers.skip_random_weights():
        assert not np.any(to_numpy(mine((4, 8), "float32")))
        with initializers.skip_random_weights(False):
            assert np.all(to_numpy(mine((4, 8), "float32")))
    assert np.all(to_numpy(mine((4, 8), "float32")))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_to_be_loaded_have_their_type(dtype):
    with initializers.skip_random_weights():
        weight = keras.Variable(
            initializers.RandomNormal(), shape=(2, 3), dtype=dtype
        )
    assert keras.backend.standardize_dtype(weight.value.dtype) == dtype
    assert not np.any(to_numpy(weight))


@pytest.mark.skipif(
    keras.config.backend() != "jax", reason="the others compile nothing"
)
def test_weights_to_be_loaded_compile_no_program(caplog):
    import jax

    shape = (7, 911)  # a program is kept for each shape, so one of its own
    draw = initializers.RandomNormal()
    with jax.log_compiles():
        with initializers.skip_random_weights():
            keras.Variable(draw, shape=shape, dtype="float32")
        assert "Compiling" not in caplog.text
        keras.Variable(draw, shape=shape, dtype="float32")
        assert "Compiling" in caplog.text


def test_a_copy_by_its_configuration_draws_the_same():
    mine = initializers.TruncatedNormal(stddev=0.1, seed=3)
    copy = keras.initializers.deserialize(keras.initializers.serialize(mine))
    assert type(copy) is type(mine)
    np.testing.assert_array_equal(to_numpy(mine((9,))), to_numpy(copy((9,))))


def test_a_scale_is_not_taken_for_a_mean():
    with pytest.raises(TypeError, match="positional"):
        initializers.TruncatedNormal(0.02)


def test_loading_draws_nothing_and_starting_afresh_does(tmp_path, monkeypatch):
    base = tiny_base()
    base.save_to_preset(str(tmp_path / "preset"))
    drawn = []
    draw = keras.initializers.VarianceScaling.__call__

    def count(self, shape, *args, **kwargs):
        drawn.append(shape)
        return draw(self, shape, *args, **kwargs)

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", count)
    load = keras_muse.MuseBase.from_preset
    loaded = load(str(tmp_path / "preset"))
    assert drawn == []
    for mine, theirs in zip(loaded.weights, base.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(mine), to_numpy(theirs))
    fresh = load(str(tmp_path / "preset"), load_weights=False)
    assert len(drawn) > 10
    assert np.ptp(to_numpy(fresh.trainable_variables[0])) > 0
    with pytest.raises(ValueError):
        load(str(tmp_path / "preset"), hidden_dim=32)
    assert initializers._skipped.get() is False
