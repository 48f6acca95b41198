import numpy as np
import pytest

import keras_muse
from keras_muse import cli
from tests.helpers import tiny_amused


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


def test_what_nobody_reads_is_said_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(SystemExit, match="keras-muse: .*gpt2") as caught:
        cli.main(["convert", str(tmp_path), "--output", str(tmp_path / "out")])
    assert "\n" not in caught.value.code
    assert not (tmp_path / "out").exists()
