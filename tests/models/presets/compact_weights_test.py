import numpy as np
import pytest
import safetensors.numpy

import keras_muse
from keras_muse.models.presets import compact_weights
from tests.helpers import tiny


@pytest.mark.parametrize("width", [64, 96, 50])
def test_a_matrix_keeps_a_scale_for_at_most_64_neighbours(width):
    matrix = np.random.default_rng(0).standard_normal((4, width), "float32")
    matrix[1] *= 1e-2  # a row of its own size
    matrix[2] = 0
    compact = compact_weights.compress({"kernel": matrix})
    levels, scale = compact["kernel"], compact["kernel.scale"]
    assert levels.dtype == np.int8 and scale.dtype == np.float16
    neighbours = width // scale.shape[1]
    assert neighbours <= 64 and neighbours * scale.shape[1] == width
    decoded = levels * np.repeat(scale.astype("float32"), neighbours, axis=1)
    # Half a level of rounding, and what float16 makes of the scale.
    bound = np.repeat(scale.astype("float32"), neighbours, axis=1) * 0.6
    assert (np.abs(decoded - matrix) <= bound).all()
    np.testing.assert_array_equal(decoded[2], 0)


def test_what_has_no_neighbours_to_share_with_is_float16():
    shapes = {"bias": 64, "kernel": (3, 3, 8, 64), "of a prime width": (8, 67)}
    compact = compact_weights.compress(
        {k: np.ones(v) for k, v in shapes.items()}
    )
    assert set(compact) == set(shapes)
    assert {x.dtype for x in compact.values()} == {np.dtype("float16")}


def test_a_codebook_and_integers_stay_as_they_are():
    tensors = {
        "vector_quantizer/codebook": np.ones((64, 64), "float32"),
        "steps": np.ones((), "int32"),
    }
    compact = compact_weights.compress(tensors)
    assert all(compact[name] is tensors[name] for name in tensors)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("compact") / "preset"
    base = tiny.tiny_base(hidden_dim=64, intermediate_dim=96)
    base.save_to_preset(directory)
    (directory / "model.weights.h5").unlink()
    compact_weights.save(base, directory / compact_weights.FILE)
    return base, directory


def test_a_preset_in_8_bits_loads_as_any(preset):
    base, directory = preset
    loaded = keras_muse.MuseBase.from_preset(str(directory), name="another")
    for ours, theirs in zip(loaded.weights, base.weights, strict=True):
        ours, theirs = tiny.to_numpy(ours.value), tiny.to_numpy(theirs.value)
        largest = max(np.abs(theirs).max(), 1e-6)
        np.testing.assert_allclose(ours, theirs, atol=largest / 120)
    # The decoded numbers are plain weights: they train, and take LoRA.
    loaded.enable_lora(rank=2)
    loaded.compile()
    history = loaded.fit(tiny.tiny_data(loaded), verbose=0)
    assert np.isfinite(history.history["loss"][0])


@pytest.mark.parametrize(
    "fault",
    ["nan", "negative", "rows", "missing", "left over", "wide", "half"],
)
def test_damage_is_refused_by_the_name_of_the_tensor(preset, tmp_path, fault):
    base, directory = preset
    tensors = safetensors.numpy.load_file(directory / compact_weights.FILE)
    name = next(name for name in tensors if name.endswith(".scale"))
    if fault == "nan":
        tensors[name][0, 0] = np.nan
    elif fault == "negative":
        tensors[name][-1, -1] *= -1
    elif fault == "rows":
        tensors[name] = tensors[name].reshape(-1, 1)[:-1]
    elif fault == "missing":
        del tensors[name]
    elif fault in ("wide", "half"):  # the matrix is none in 8 bits any more
        matrix = name.removesuffix(".scale")
        dtype = {"wide": "int16", "half": "float16"}[fault]
        tensors[matrix] = tensors[matrix].astype(dtype)
    else:
        name = "layers/17/kernel"
        tensors[name] = np.zeros((2, 2), "float16")
    for file in ("config.json", "metadata.json"):
        (tmp_path / file).write_bytes((directory / file).read_bytes())
    damaged = tmp_path / compact_weights.FILE
    safetensors.numpy.save_file(tensors, damaged)
    with pytest.raises(ValueError, match=f"`{name}`.*Received"):
        keras_muse.MuseBase.from_preset(str(tmp_path))
