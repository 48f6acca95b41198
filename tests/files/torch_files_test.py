import os
import sys

import numpy as np
import pytest
import torch

from keras_muse.files.torch_files import TorchFiles

TENSORS = {
    "a.weight": torch.arange(6.0).reshape(2, 3),
    "a.half": torch.tensor([0.5, -2.0], dtype=torch.bfloat16),
    "a.steps": torch.tensor(7),
}


@pytest.mark.parametrize("key", [None, "state_dict", "model", "ema"])
@pytest.mark.parametrize("old_format", [False, True])
def test_reads_what_torch_saved(tmp_path, key, old_format):
    checkpoint = TENSORS if key is None else {key: TENSORS, "epoch": 3}
    path = tmp_path / "some" / "last.ckpt"
    path.parent.mkdir()
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not old_format)
    for files in (
        TorchFiles(str(path)),
        TorchFiles(str(tmp_path), "last.ckpt", "some"),
    ):
        with files:
            assert files.names() == set(TENSORS)
            for name, tensor in TENSORS.items():
                read = files.read(name)
                assert read.dtype == "float32"
                np.testing.assert_array_equal(read, tensor.float().numpy())
            with pytest.raises(ValueError, match="Tensor `b` is missing"):
                files.read("b")


class Malicious:
    """A pickle that makes a directory when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("old_format", [False, True])
def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path, old_format):
    path, proof = str(tmp_path / "evil.ckpt"), str(tmp_path / "proof")
    torch.save(
        {"state_dict": TENSORS, "more": Malicious(proof)},
        path,
        _use_new_zipfile_serialization=not old_format,
    )
    with pytest.raises(ValueError, match=r"evil\.ckpt.*run code.*mkdir"):
        TorchFiles(path)
    assert not os.path.exists(proof)


@pytest.mark.parametrize(
    "checkpoint",
    [[1, 2], {"a": 3}, {"state_dict": {"a": "b"}}, TENSORS["a.half"]],
)
def test_files_without_tensors_are_refused(tmp_path, checkpoint):
    path = str(tmp_path / "other.pt")
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r"other\.pt` holds no tensors"):
        TorchFiles(path)


def test_what_else_a_file_holds_is_named(tmp_path):
    path = str(tmp_path / "other.bin")
    torch.save({"module": TENSORS, "epoch": 3}, path)
    with pytest.raises(ValueError, match="Received: .*'module', 'epoch'"):
        TorchFiles(path)


@pytest.mark.parametrize("size", [0, 1, 300])
def test_files_cut_short_are_refused(tmp_path, size):
    path = tmp_path / "short.pt"
    torch.save(TENSORS, path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"short\.pt`"):
        TorchFiles(str(path))


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="has no `some/last.ckpt`"):
        TorchFiles(str(tmp_path), "last.ckpt", "some")


def test_without_torch_it_says_what_to_install(tmp_path, monkeypatch):
    path = str(tmp_path / "a.pt")
    torch.save(TENSORS, path)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="`pip install torch`"):
        TorchFiles(path)
