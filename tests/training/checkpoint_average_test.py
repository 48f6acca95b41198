import os

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from keras_muse.training.checkpoint_average import average_checkpoints


class Counter(keras.layers.Layer):
    def build(self, input_shape):
        self.count = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False
        )

    def call(self, inputs):
        return inputs


def make_model(units=3, dtype="float32"):
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(units, dtype=dtype, name="first"),
            keras.layers.BatchNormalization(name="norm"),
        ]
    )


def save_random(model, paths):
    """Saves as many sets of random weights, and returns them."""
    generator = np.random.default_rng(0)
    saved = []
    for path in paths:
        for variable in model.weights:
            variable.assign(generator.standard_normal(variable.shape))
        model.save_weights(path)
        saved.append(float32_weights(model))
    return saved


def float32_weights(model):
    return [
        np.array(ops.convert_to_numpy(ops.cast(variable, "float32")))
        for variable in model.weights
    ]


@pytest.fixture
def paths(tmp_path):
    # Out of alphabetical order: the list's own order counts.
    return [tmp_path / f"step_{i}.weights.h5" for i in (900, 1000, 1100, 20)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_averages_in_order(paths, tmp_path, dtype):
    model = make_model(dtype=dtype)
    saved = save_random(model, paths)
    output = average_checkpoints(paths, tmp_path / "average.weights.h5", 0.6)

    fresh = make_model(dtype=dtype)
    fresh.load_weights(output)
    shares = [0.6**3, 0.4 * 0.6**2, 0.4 * 0.6, 0.4]
    tolerance = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 2e-2}[dtype]
    for *values, actual in zip(*saved, float32_weights(fresh), strict=True):
        expected = sum(s * v for s, v in zip(shares, values, strict=True))
        np.testing.assert_allclose(actual, expected, atol=tolerance)


def test_default_decay_is_the_papers(paths, tmp_path):
    model = make_model()
    first, second = save_random(model, paths[:2])
    model.load_weights(
        average_checkpoints(paths[:2], tmp_path / "average.weights.h5")
    )
    for a, b, actual in zip(first, second, model.get_weights(), strict=True):
        np.testing.assert_allclose(actual, 0.7 * a + 0.3 * b, atol=1e-6)


def test_one_checkpoint_is_its_own_average(paths, tmp_path):
    model = make_model()
    (saved,) = save_random(model, paths[:1])
    model.load_weights(
        average_checkpoints(paths[:1], tmp_path / "average.weights.h5")
    )
    for expected, actual in zip(saved, model.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_checkpoints_of_a_training(tmp_path):
    """The optimizer's state is left out."""
    model = make_model()
    model.compile("adam", loss="mse")
    x, y = np.ones((8, 4), "float32"), np.ones((8, 3), "float32")
    saver = keras.callbacks.ModelCheckpoint(
        tmp_path / "{epoch}.weights.h5", save_weights_only=True
    )
    model.fit(x, y, epochs=3, callbacks=[saver], verbose=0)
    paths = [tmp_path / f"{epoch}.weights.h5" for epoch in (1, 2, 3)]
    output = average_checkpoints(paths, tmp_path / "average.weights.h5")
    with h5py.File(paths[0]) as saved, h5py.File(output) as averaged:
        assert set(saved) - set(averaged) == {"optimizer"}

    fresh = make_model()
    fresh.load_weights(output)
    kernels = []
    for path in paths:
        model.load_weights(path)
        kernels.append(model.get_layer("first").get_weights()[0])
    np.testing.assert_allclose(
        fresh.get_layer("first").get_weights()[0],
        0.49 * kernels[0] + 0.21 * kernels[1] + 0.3 * kernels[2],
        atol=1e-6,
    )


def test_counters_are_the_last_ones(paths, tmp_path):
    layer = Counter()
    model = keras.Sequential([keras.Input((4,)), layer])
    for count, path in enumerate(paths):
        layer.count.assign(10 + count)
        model.save_weights(path)
    layer.count.assign(0)
    model.load_weights(
        average_checkpoints(paths, tmp_path / "average.weights.h5")
    )
    assert int(ops.convert_to_numpy(layer.count)) == 13


def test_quantized_weights_that_differ_are_named(paths, tmp_path):
    """Their integers count in steps of scales that are averaged."""
    output = tmp_path / "average.weights.h5"
    model = make_model()
    model.quantize("int8")
    for path in paths[:2]:
        model.layers[1].gamma.assign(np.random.uniform(size=3))
        model.save_weights(path)
    average_checkpoints(paths[:2], output)  # the integers are the same
    model.get_layer("first").enable_lora(2)
    for path in paths[2:]:
        lora = model.get_layer("first").lora_kernel_b
        lora.assign(np.random.normal(size=lora.shape))
        model.save_weights(path)  # Keras merges it
    with pytest.raises(ValueError, match="differ.*`layers/dense/.*of int8"):
        average_checkpoints(paths[2:], output)


def test_output_may_replace_an_input(paths):
    model = make_model()
    first, second = save_random(model, paths[:2])
    model.load_weights(average_checkpoints(paths[:2], paths[1], decay=0.5))
    for a, b, actual in zip(first, second, model.get_weights(), strict=True):
        np.testing.assert_allclose(actual, (a + b) / 2, atol=1e-6)


def test_different_models_are_named(paths, tmp_path):
    save_random(make_model(3), paths[:1])
    save_random(make_model(5), paths[1:2])
    output = tmp_path / "average.weights.h5"
    with pytest.raises(ValueError, match=r"dense/vars/0: \(4, 3\) and \(4, 5"):
        average_checkpoints(paths[:2], output)

    longer = keras.Sequential([*make_model().layers, keras.layers.Dense(3)])
    longer.build((None, 4))
    save_random(longer, paths[2:3])
    with pytest.raises(
        ValueError, match=r"dense_1/vars/0: absent and \(3, 3\)"
    ):
        average_checkpoints([paths[0], paths[2]], output)
    assert sorted(os.listdir(tmp_path)) == sorted(p.name for p in paths[:3])


def test_a_broken_file_leaves_nothing_behind(paths, tmp_path, monkeypatch):
    save_random(make_model(), paths[:2])

    def fail(*args):
        raise OSError("disk is full")

    monkeypatch.setattr("keras_muse.training.checkpoint_average._write", fail)
    with pytest.raises(OSError, match="disk is full"):
        average_checkpoints(paths[:2], tmp_path / "average.weights.h5")
    assert sorted(os.listdir(tmp_path)) == sorted(p.name for p in paths[:2])


def test_unusable_arguments_raise(paths, tmp_path):
    output = tmp_path / "average.weights.h5"
    save_random(make_model(), paths[:1])
    with pytest.raises(ValueError, match="Received: decay=1.0"):
        average_checkpoints(paths[:1], output, decay=1.0)
    with pytest.raises(ValueError, match="list of paths.*Received"):
        average_checkpoints(str(paths[0]), output)
    with pytest.raises(ValueError, match=r"Received: \[\]"):
        average_checkpoints([], output)
    for mixed in ("average.keras", "directory"):
        with pytest.raises(ValueError, match=rf"Received: \[.*{mixed}'"):
            average_checkpoints(paths[:1], tmp_path / mixed)


def test_a_file_that_is_not_finite_is_named(paths, tmp_path):
    model = make_model()
    save_random(model, paths)
    model.weights[0].assign(np.full(model.weights[0].shape, np.nan))
    model.save_weights(paths[2])
    with pytest.raises(ValueError, match=r"step_1100.*dense/vars/0.*NaN"):
        average_checkpoints(paths, tmp_path / "average.weights.h5")
    assert not (tmp_path / "average.weights.h5").exists()
