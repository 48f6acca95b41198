"""The text encoders out of `.bin` files, which many are published as alone."""

import json
import os
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from keras_muse.models import TextEncoder
from tests.helpers import tiny_clip
from tests.models.text_encoders.t5_text_encoder_test import train_vocabulary


def save_t5(directory):
    config = transformers.T5Config(
        vocab_size=40, d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(directory)
    with open(os.path.join(directory, "spiece.model"), "wb") as file:
        file.write(train_vocabulary())


def save_bert(directory):
    config = transformers.BertConfig(
        vocab_size=9,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=16,
    )
    transformers.BertModel(config).save_pretrained(directory)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "apple"]
    with open(os.path.join(directory, "vocab.txt"), "w") as file:
        file.write("\n".join(pieces))


def save_clip(directory):
    tiny_clip.save_model(directory, num_hidden_layers=1)
    tiny_clip.save_tokenizer(directory)


@pytest.fixture(scope="module", params=[save_t5, save_bert, save_clip])
def published(request, tmp_path_factory):
    """Directory of safetensors, and the encoder that they give."""
    directory = tmp_path_factory.mktemp("published") / request.param.__name__
    request.param(str(directory))
    return directory, TextEncoder.from_preset(
        str(directory), sequence_length=6
    ).get_weights()


def test_a_pickle_gives_the_same(published, tmp_path):
    directory, weights = published
    copy = shutil.copytree(directory, tmp_path / "copy")
    tensors = safetensors.torch.load_file(copy / "model.safetensors")
    os.remove(copy / "model.safetensors")
    names = sorted(tensors)
    files = {}
    for i, part in enumerate((names[::2], names[1::2])):
        file = f"pytorch_model-0000{i + 1}-of-00002.bin"
        torch.save({name: tensors[name] for name in part}, copy / file)
        files |= dict.fromkeys(part, file)
    (copy / "pytorch_model.bin.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": files})
    )
    encoder = TextEncoder.from_preset(str(copy), sequence_length=6)
    for ours, theirs in zip(encoder.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "name, value",
    [
        ("num_heads", "many"),
        ("num_attention_heads", "many"),
        ("vocab_size", None),
        ("vocab_size", -3),
    ],
)
def test_a_broken_configuration_is_named(name, value, published, tmp_path):
    directory, _ = published
    copy = shutil.copytree(directory, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    if name not in config:
        name = "vocab_size"
    (copy / "config.json").write_text(json.dumps({**config, name: value}))
    with pytest.raises(ValueError, match="config.json` describes no model"):
        TextEncoder.from_preset(str(copy))
    if name in ("vocab_size", "num_heads") and "d_model" in config:
        del config[name]
        (copy / "config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match=f"config.json` .*'{name}'"):
            TextEncoder.from_preset(str(copy))
