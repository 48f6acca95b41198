import os

import pytest
import torch
import yaml

import keras_muse
from keras_muse.converters import convert
from tests.helpers import tiny_amused
from tests.helpers import tiny_clip
from tests.helpers.golden_vqgans import GoldenVQGAN
from tests.helpers.tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("amused"))
    tiny_amused.save_pipeline(directory)
    return directory


@pytest.mark.parametrize(
    "part, cls",
    [
        ("transformer", keras_muse.UViTBase),
        ("vqvae", keras_muse.VQGANTokenizer),
    ],
)
def test_parts_are_converted_alone(pipeline, part, cls, tmp_path):
    output = str(tmp_path / "preset")
    [row] = convert(os.path.join(pipeline, part), output)
    assert row["class"] == cls.__name__ and row["difference"] < 1e-4
    assert cls.from_preset(output).count_params() == row["parameters"]


def test_text_encoders_are_converted_alone(tmp_path):
    source, output = str(tmp_path / "clip"), str(tmp_path / "preset")
    tiny_clip.save_model(source, max_position_embeddings=77)
    tiny_clip.save_tokenizer(source)
    [row] = convert(source, output)
    assert row["class"] == "CLIPTextEncoder" and row["difference"] < 1e-4


def test_files_without_a_config_are_converted(tmp_path):
    golden, source = GoldenVQGAN("taming"), tmp_path / "taming"
    (source / "checkpoints").mkdir(parents=True)
    (source / "model.yaml").write_text(yaml.safe_dump(golden.config))
    tensors = {k: torch.from_numpy(v) for k, v in golden.tensors.items()}
    torch.save({"state_dict": tensors}, source / "checkpoints" / "last.ckpt")
    output = str(tmp_path / "preset")
    [row] = convert(str(source), output)
    assert row["class"] == "VQGANTokenizer" and row["difference"] is None
    golden.check(keras_muse.VQGANTokenizer.from_preset(output))


def test_a_preset_of_keras_is_none_of_others(tmp_path):
    source = str(tmp_path / "tokenizer")
    tiny_tokenizer().save_to_preset(source)
    # As the index of a pipeline does, over which a Muse was saved.
    (tmp_path / "tokenizer/model_index.json").write_text("{}")
    with pytest.raises(ValueError, match="one of Keras already"):
        convert(source, str(tmp_path / "output"))
    assert not (tmp_path / "output").exists()
