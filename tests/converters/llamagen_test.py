import argparse
import json

import numpy as np
import pytest
import safetensors.numpy
import torch

import keras_muse
from keras_muse import VQGANTokenizer
from keras_muse.converters import llamagen
from tests.helpers.golden_vqgans import GoldenVQGAN
from tests.helpers.tiny import to_numpy


@pytest.fixture(scope="module")
def golden():
    return GoldenVQGAN("llamagen")


def save(path, tensors, **others):
    tensors = {k: torch.from_numpy(v) for k, v in tensors.items()}
    torch.save({"model": tensors, **others}, path)


def test_equals_llamagen(golden, tmp_path):
    """From the `.pt` file as published, and from the directory it is in."""
    path = tmp_path / "vq_ds16_c2i.pt"
    save(path, golden.tensors, args=argparse.Namespace(lr=1), steps=3)
    implied = llamagen.read_config(str(path))
    assert implied == {k: golden.config[k] for k in implied}
    golden.check(VQGANTokenizer.from_preset(str(path)))
    assert llamagen.read_config(str(tmp_path)) == implied


def test_as_their_code_saves_it_through_the_hub(golden, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(golden.config))
    safetensors.numpy.save_file(golden.tensors, tmp_path / "model.safetensors")
    tokenizer = keras_muse.VQGANTokenizer.from_preset(str(tmp_path))
    # Codes of any length stand for their direction.
    codebook = to_numpy(tokenizer.quantizer.codebook)
    lengths = np.linspace(0.5, 3, len(codebook))[:, None]
    tokenizer.quantizer.codebook.assign(codebook * lengths)
    golden.check(tokenizer)


def test_moving_averages_come_first(golden, tmp_path):
    path = str(tmp_path / "vq.pt")
    averages = {k: torch.from_numpy(v) for k, v in golden.tensors.items()}
    zeros = {k: np.zeros_like(v) for k, v in golden.tensors.items()}
    save(path, zeros, ema=averages)
    tokenizer = VQGANTokenizer.from_preset(path)
    np.testing.assert_array_equal(
        to_numpy(tokenizer.quantizer.codebook),
        golden.tensors["quantize.embedding.weight"],
    )


def test_wrong_tensors_are_refused_by_name(golden, tmp_path):
    path = str(tmp_path / "vq.pt")
    tensors = dict(golden.tensors)
    tensors["encoder.mid.1.q.bias"] = np.zeros(5, "float32")
    save(path, tensors)
    with pytest.raises(ValueError, match="`encoder.mid.1.q.bias` does not fit"):
        VQGANTokenizer.from_preset(path)
    del tensors["encoder.mid.1.q.bias"]
    save(path, tensors)
    with pytest.raises(ValueError, match="`encoder.mid.1.q.bias` is missing"):
        VQGANTokenizer.from_preset(path)


def test_unequal_sides_are_refused(golden):
    config = {**golden.config, "decoder_ch_mult": [1, 1]}
    with pytest.raises(ValueError, match="`decoder_ch_mult` must be .1, 2."):
        llamagen.constructor_arguments(config)


def test_other_files_are_not_recognized(tmp_path):
    assert llamagen.read_config(str(tmp_path)) is None
    save(tmp_path / "other.pt", {"weight": np.zeros(3)})
    assert llamagen.read_config(str(tmp_path / "other.pt")) is None
    assert not llamagen.recognizes({"codebook_size": 3})
