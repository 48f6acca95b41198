import copy
import sys
import types

import numpy as np
import pytest
import torch
import yaml

from keras_muse import VQGANTokenizer
from keras_muse.converters import taming
from tests.helpers.golden_vqgans import GoldenVQGAN
from tests.helpers.tiny import to_numpy


@pytest.fixture(scope="module")
def golden():
    return GoldenVQGAN("taming")


def save(directory, config, tensors, config_file="configs/model.yaml"):
    """Files as they are published; the loss has tensors of its own."""
    path = directory / config_file
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    # Written beside it by the trainer.
    path.with_name("a-lightning.yaml").write_text("lightning: {gpus: 8}")
    tensors = {k: torch.from_numpy(v) for k, v in tensors.items()}
    tensors["loss.perceptual_loss.lin0.model.1.weight"] = torch.zeros(1, 4)
    (directory / "checkpoints").mkdir(exist_ok=True)
    checkpoint = directory / "checkpoints" / "last.ckpt"
    torch.save(
        {"epoch": 1, "state_dict": tensors, "callbacks": {Callback: {}}},
        checkpoint,
    )
    return checkpoint


Callback = type("ModelCheckpoint", (), {})
Callback.__module__ = "pytorch_lightning.callbacks.model_checkpoint"


@pytest.fixture(autouse=True)
def lightning(monkeypatch):
    """What a pickle of Lightning's names, while it is written."""
    module = types.ModuleType(Callback.__module__)
    module.ModelCheckpoint = Callback
    monkeypatch.setitem(sys.modules, "pytorch_lightning", module)
    monkeypatch.setitem(sys.modules, "pytorch_lightning.callbacks", module)
    monkeypatch.setitem(sys.modules, Callback.__module__, module)


def test_equals_taming(golden, tmp_path):
    save(tmp_path, golden.config, golden.tensors)
    tokenizer = VQGANTokenizer.from_preset(str(tmp_path))
    assert tokenizer.attention_levels == (2,)
    golden.check(tokenizer)


@pytest.mark.parametrize("config_file", ["configs/model.yaml", "model.yaml"])
def test_the_path_of_the_checkpoint_will_do(golden, tmp_path, config_file):
    path = save(tmp_path, golden.config, golden.tensors, config_file)
    tokenizer = VQGANTokenizer.from_preset(str(path))
    np.testing.assert_array_equal(
        to_numpy(tokenizer.quantizer.codebook),
        golden.tensors["quantize.embedding.weight"],
    )


def changed(config, **changes):
    config = copy.deepcopy(config)
    model = config["model"]
    for part in (model, model["params"], model["params"]["ddconfig"]):
        part.update({k: v for k, v in changes.items() if k in part})
    if "remap" in changes:
        model["params"]["remap"] = changes["remap"]
    return config


@pytest.mark.parametrize(
    "change",
    [
        {"target": "taming.models.vqgan.GumbelVQ"},
        {"double_z": True},
        {"in_channels": 1},
        {"out_ch": 1},
        {"remap": "used.npy"},
    ],
)
def test_another_architecture_is_refused_by_its_setting(golden, change):
    config = changed(golden.config, **change)
    assert taming.recognizes(config)
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match=f"`{name}` must be .*{value}"):
        taming.constructor_arguments(config)


def test_wrong_tensors_are_refused_by_name(golden, tmp_path):
    tensors = dict(golden.tensors)
    del tensors["decoder.mid.attn_1.q.bias"]
    save(tmp_path, golden.config, tensors)
    with pytest.raises(ValueError, match="`decoder.mid.attn_1.q.bias` is miss"):
        VQGANTokenizer.from_preset(str(tmp_path))
    tensors["decoder.mid.attn_1.q.bias"] = np.zeros(3, "float32")
    save(tmp_path, golden.config, tensors)
    with pytest.raises(ValueError, match="q.bias` does not fit"):
        VQGANTokenizer.from_preset(str(tmp_path))
    save(tmp_path, golden.config, {**golden.tensors, "spare": np.zeros(1)})
    with pytest.raises(ValueError, match="`spare` has no place"):
        VQGANTokenizer.from_preset(str(tmp_path))


def test_other_directories_are_not_recognized(tmp_path):
    assert taming.read_config(str(tmp_path)) is None
    (tmp_path / "other.yaml").write_text("model: {target: ldm.models.VQModel}")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    (tmp_path / "name.yaml").write_text("model: vqgan")
    assert taming.read_config(str(tmp_path)) is None


def test_a_directory_without_its_checkpoint_is_refused(golden, tmp_path):
    save(tmp_path, golden.config, golden.tensors).unlink()
    with pytest.raises(ValueError, match="has no `checkpoints/last.ckpt`"):
        VQGANTokenizer.from_preset(str(tmp_path))
