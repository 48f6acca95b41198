import os
import sys

import keras
import numpy as np
import pytest
import torch
import yaml

import keras_muse
from keras_muse import cli
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


def test_command_converts_a_pipeline_and_compares(pipeline, tmp_path, capsys):
    output = str(tmp_path / "preset")
    cli.main(["convert", pipeline, "--output", output])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[-1] == [output]
    compared = {row[0]: (row[1], float(row[3])) for row in rows[1:-1]}
    assert set(compared) == {"text_encoder", "base", "image_tokenizer"}
    assert compared["base"][0] == "UViTBase"
    for _, difference in compared.values():
        assert 0 < difference < 1e-4
    options = {"num_steps": 2, "seed": 0, "verbose": 0}
    np.testing.assert_array_equal(
        keras_muse.Muse.from_preset(output).generate("cat", **options),
        keras_muse.Muse.from_preset(pipeline).generate("cat", **options),
    )


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


def test_report_sees_a_difference(pipeline):
    muse = keras_muse.Muse.from_preset(pipeline)
    weight = muse.base.head_norm.scale
    weight.assign(keras.ops.convert_to_numpy(weight) + 0.1)
    rows = keras_muse.converters.report(pipeline, {"base": muse.base})
    assert rows[0]["difference"] > 1e-2 * rows[0]["scale"]


def test_without_their_packages_nothing_is_compared(
    pipeline, tmp_path, monkeypatch
):
    for name in ("diffusers", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    rows = convert(pipeline, str(tmp_path / "preset"))
    assert [row["difference"] for row in rows] == [None] * 3


def test_a_preset_of_keras_is_none_of_others(tmp_path):
    source = str(tmp_path / "tokenizer")
    tiny_tokenizer().save_to_preset(source)
    with pytest.raises(ValueError, match="one of Keras already"):
        convert(source, str(tmp_path / "output"))
    assert not (tmp_path / "output").exists()


def test_what_nobody_reads_is_said_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(SystemExit, match="keras-muse: .*gpt2") as caught:
        cli.main(["convert", str(tmp_path), "--output", str(tmp_path / "out")])
    assert "\n" not in caught.value.code
    assert not (tmp_path / "out").exists()
