"""Weights in one file or many, read one tensor at a time."""

import json

import h5py
import numpy as np
import pytest
from safetensors import numpy as safetensors

from keras_muse.files.weight_files import KerasWeightsFiles
from keras_muse.files.weight_files import SafetensorsFile
from keras_muse.files.weight_files import SafetensorsFiles

GENERATOR = np.random.default_rng(0)
TENSORS = {
    "a.weight": GENERATOR.normal(size=(4, 6)).astype("float32"),
    "b.weight": GENERATOR.normal(size=(3,)).astype("float16"),
}


def save_in_parts(folder):
    files = {}
    for i, (name, tensor) in enumerate(TENSORS.items()):
        files[name] = f"part-{i}.safetensors"
        safetensors.save_file({name: tensor}, folder / files[name])
    index = json.dumps({"weight_map": files})
    (folder / "model.safetensors.index.json").write_text(index)


def test_parts_are_opened_when_they_are_asked_for(tmp_path):
    save_in_parts(tmp_path)
    (tmp_path / "part-1.safetensors").write_bytes(b"damaged")
    with SafetensorsFiles(
        str(tmp_path), "model.safetensors.index.json"
    ) as files:
        assert files.names() == set(TENSORS)
        found = files.read("a.weight")
        np.testing.assert_array_equal(found, TENSORS["a.weight"])
        with pytest.raises(ValueError, match="part-1.safetensors"):
            files.read("b.weight")
        with pytest.raises(ValueError, match="`c.weight`"):
            files.read("c.weight")


def test_a_file_by_its_path(tmp_path):
    path = tmp_path / "any name"
    safetensors.save_file(TENSORS, path)
    with SafetensorsFile(path) as files:
        assert files.names() == set(TENSORS)
        for name, tensor in TENSORS.items():
            np.testing.assert_array_equal(files.read(name), tensor)
        with pytest.raises(ValueError, match="`c.weight`.*any name"):
            files.read("c.weight")


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_int8_is_multiplied_by_the_scales_of_its_neighbours(tmp_path, groups):
    matrix = GENERATOR.integers(-127, 128, (4, 6)).astype("int8")
    scale = GENERATOR.uniform(0.1, 1, (4, groups)).astype("float32")
    path = tmp_path / "a.safetensors"
    safetensors.save_file({"w": matrix, "w.scale": scale}, path)
    expected = matrix * np.repeat(scale, 6 // groups, axis=1)
    with SafetensorsFile(path) as files:
        np.testing.assert_allclose(files.read("w"), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (3, 2)])
def test_scales_have_a_row_for_each_row(tmp_path, shape):
    path = tmp_path / "a.safetensors"
    scale = np.ones(shape, "float32")
    safetensors.save_file(
        {"w": np.ones((4, 6), "int8"), "w.scale": scale}, path
    )
    with SafetensorsFile(path) as files:
        with pytest.raises(ValueError, match="`w.scale` must have a row"):
            files.read("w")


def test_layers_of_keras_may_be_spread_over_files(tmp_path):
    places = {
        "layers/dense/vars/0": "one.weights.h5",
        "layers/dense/vars/1": "two.weights.h5",
        "layers/dense_1/vars/0": "two.weights.h5",
    }
    for number, (name, file) in enumerate(places.items()):
        with h5py.File(tmp_path / file, "a") as opened:
            opened[name] = np.full(2, number, "float32")
    index = {
        "weight_map": {
            "/layers/dense/vars": ["one.weights.h5", "two.weights.h5"],
            "/layers/dense_1/vars": "two.weights.h5",
        }
    }
    (tmp_path / "model.weights.json").write_text(json.dumps(index))
    with KerasWeightsFiles(str(tmp_path), "model.weights.json") as files:
        for number, name in enumerate(places):
            np.testing.assert_array_equal(files.read(name), [number] * 2)
        assert files.has_group("layers/dense")
        # A beginning of a name is no group.
        assert not files.has_group("layers/den")
    with KerasWeightsFiles(str(tmp_path), "one.weights.h5") as files:
        assert files.has_group("layers/dense")
        assert not files.has_group("layers/dense_1")
