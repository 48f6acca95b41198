import json
import os

import numpy as np
import pytest
import safetensors.torch
import torch

from keras_muse.files.published_weights import DIFFUSERS
from keras_muse.files.published_weights import open_weights

TENSORS = {
    "a.weight": torch.arange(6.0).reshape(2, 3),
    "b.weight": torch.tensor([0.5, -2.0]),
}


def save(path, tensors):
    if str(path).endswith(".bin"):
        torch.save(tensors, path)
    else:
        safetensors.torch.save_file(tensors, path)


def save_shards(directory, index, names):
    for name, (key, tensor) in zip(names, TENSORS.items(), strict=True):
        save(directory / name, {key: tensor})
    files = dict(zip(TENSORS, names, strict=True))
    (directory / index).write_text(json.dumps({"weight_map": files}))


def check(files, dtype=torch.float32):
    with files:
        assert files.names() == set(TENSORS)
        for name, tensor in TENSORS.items():
            read = files.read(name)
            assert read.dtype == "float32"
            expected = tensor.to(dtype).float().numpy()
            np.testing.assert_array_equal(read, expected)
        with pytest.raises(ValueError, match="Tensor `c` is missing"):
            files.read("c")


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64]
)
@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "model.fp16.safetensors",
        "model.bf16.safetensors",
        "pytorch_model.bin",
        "pytorch_model.fp16.bin",
    ],
)
def test_one_file(name, dtype, tmp_path):
    save(tmp_path / name, {k: t.to(dtype) for k, t in TENSORS.items()})
    check(open_weights(str(tmp_path)), dtype)


@pytest.mark.parametrize(
    "index, names",
    [
        (
            "model.safetensors.index.json",
            [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)],
        ),
        (
            "model.safetensors.index.fp16.json",
            [f"model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)],
        ),
        (
            "pytorch_model.bin.index.json",
            [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)],
        ),
    ],
)
def test_shards(index, names, tmp_path):
    (tmp_path / "folder").mkdir()
    save_shards(tmp_path / "folder", index, names)
    check(open_weights(str(tmp_path), "folder"))
    os.remove(tmp_path / "folder" / names[1])
    with open_weights(str(tmp_path), "folder") as files:
        files.read("a.weight")
        with pytest.raises(ValueError, match=f"{names[1]}.*`b.weight`"):
            files.read("b.weight")


@pytest.mark.parametrize("stem", ["", "diffusion_pytorch_"])
def test_safetensors_come_first_and_whole_precision_before_half(stem, tmp_path):
    stems = DIFFUSERS if stem else ("model", "pytorch_model")
    pickled = f"{stems[1]}.bin"
    names = [f"{stems[0]}.safetensors", f"{stems[0]}.fp16.safetensors", pickled]
    for i, name in enumerate(names):
        save(tmp_path / name, {str(i): torch.ones(1)})
    for i, name in enumerate(names):
        with open_weights(str(tmp_path), stems=stems) as files:
            assert files.names() == {str(i)}
        os.remove(tmp_path / name)
    with pytest.raises(ValueError, match=f"{names[0]}.*{pickled}.*Received"):
        open_weights(str(tmp_path), stems=stems)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_eight_bit_floats_are_refused_by_name(name, tmp_path):
    save(tmp_path / name, {"a": torch.ones(3).to(torch.float8_e4m3fn)})
    with open_weights(str(tmp_path)) as files:
        with pytest.raises(ValueError, match=f"{name}.*`a` is of .*16 or 32"):
            files.read("a")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_what_is_not_finite_is_refused_by_name(name, value, tmp_path):
    tensors = {
        "a": torch.tensor([1.0, value]),
        "large": torch.full((9,), 3e38),  # they add up to infinity
    }
    save(tmp_path / name, tensors)
    with open_weights(str(tmp_path)) as files:
        with pytest.raises(ValueError, match=f"{name}.*`a`.*NaN or infinite"):
            files.read("a")
        assert np.isfinite(files.read("large")).all()


def test_a_few_bytes_cannot_claim_gigabytes(tmp_path):
    torch.save({"a": torch.ones(1).expand(2**36)}, tmp_path / "m.bin")
    os.rename(tmp_path / "m.bin", tmp_path / "pytorch_model.bin")
    with open_weights(str(tmp_path)) as files:
        with pytest.raises(ValueError, match="pytorch_model.bin.*`a`.*whole"):
            files.read("a")


@pytest.mark.parametrize(
    "index",
    [
        {},
        [],
        {"weight_map": ["a"]},
        {"weight_map": {"a.weight": 3}},
        {"weight_map": {"a.weight": ["x", 4]}},
        {"weight_map": {"a.weight": "../elsewhere.safetensors"}},
        {"weight_map": {"a.weight": "/etc/passwd"}},
    ],
)
def test_an_index_that_is_none(index, tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match="model.safetensors.index.json"):
        open_weights(str(tmp_path))
