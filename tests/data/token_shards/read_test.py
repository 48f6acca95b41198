import os
import subprocess
import sys

import pytest

from keras_muse.data import read_token_shards
from tests.helpers.token_shards import PixelTokenizer
from tests.helpers.token_shards import WordEncoder


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("stage", "super_res"),
        ("stage", "upscale"),
        ("codebook_size", 512),
        ("tokenizer", PixelTokenizer(codebook_seed=1)),
        ("batch_size", 0),
        ("batch_size", 11),
        ("steps_per_epoch", 0),
        ("process_index", 1),
        ("process_count", 3),
        ("text_encoder", WordEncoder(factor=2.0)),
    ],
)
def test_reading_names_a_wrong_argument(shards, argument, value):
    arguments = {"batch_size": 5, argument: value}
    with pytest.raises(ValueError, match=f"`{argument}"):
        read_token_shards(shards, **arguments)


@pytest.mark.parametrize("kwargs", [{"process_index": 0}, {"process_count": 1}])
def test_a_process_is_given_by_two_numbers(shards, kwargs):
    with pytest.raises(ValueError, match="go together"):
        read_token_shards(shards, 5, **kwargs)


def test_processes_must_divide_the_batch(shards):
    with pytest.raises(ValueError, match="`process_count` must divide"):
        read_token_shards(shards, 5, process_index=0, process_count=2)


def test_tensorflow_is_not_needed(shards):
    script = (
        "import sys\n"
        "sys.modules['tensorflow'] = None\n"
        "import keras_muse\n"
        "from tests.helpers.token_shards import make_rows, write\n"
        "dataset = keras_muse.data.read_token_shards(sys.argv[1], 5)\n"
        "write(make_rows(), sys.argv[1], overwrite=True)\n"
        "print(len(list(dataset)))\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    output = subprocess.run(
        [sys.executable, "-c", script, shards],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert output.stdout.strip() == "2", output.stderr
