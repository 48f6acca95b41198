"""`keras-muse tokenize`, alone and by several processes."""

import inspect
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_muse import cli
from keras_muse import data
from keras_muse.data import load_image_text
from keras_muse.data import processes
from keras_muse.data import write_token_shards
from keras_muse.muse import preset as muse_preset
from keras_muse.training import distribution
from tests.helpers.ports import free_address
from tests.helpers.tiny import tiny_images
from tests.helpers.tiny_muse import shared_muse

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("preset") / "muse"
    shared_muse(cascade=False).save_to_preset(str(directory))
    return str(directory)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i, image in enumerate(tiny_images(5, size=40)):
        Image.fromarray(image).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text("a red apple" if i else "a cat")
    return str(folder)


@pytest.fixture
def no_job(monkeypatch):
    """This process has long used its devices, and joins no other."""
    joined = []
    monkeypatch.setattr(processes, "join", lambda *given: joined.append(given))
    return joined


def tokenize(pictures, preset, output, *options):
    cli.main(
        [
            *("tokenize", pictures, "--preset", preset),
            *("--output", str(output), "--rows-per-shard", "3", *options),
        ]
    )


def test_tokenize_loads_what_it_needs_and_no_more(
    pictures, preset, tmp_path, no_job, capsys
):
    small = tmp_path / "preset"
    shutil.copytree(preset, small)
    shutil.rmtree(small / "base")
    tokenize(pictures, str(small), tmp_path / "out", "--image-size", "16")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"{tmp_path / 'out'}: 5 pictures, 0 skipped"

    muse = shared_muse(cascade=False)
    pairs = load_image_text(pictures)
    write_token_shards(
        *(pairs, str(tmp_path / "expected")),
        *(muse.image_tokenizer, muse.text_encoder),
        image_size=16,
        rows_per_shard=3,
        verbose=0,
    )
    assert len(os.listdir(tmp_path / "out")) == 3
    for name in os.listdir(tmp_path / "expected"):
        found = (tmp_path / "out" / name).read_bytes()
        assert found == (tmp_path / "expected" / name).read_bytes()


def test_tokenize_passes_its_options_on(
    pictures, preset, tmp_path, no_job, monkeypatch
):
    calls = []

    def record(*args, **kwargs):
        calls.append((args, kwargs))
        return {"num_records": 0, "num_skipped": 0}

    monkeypatch.setattr(data, "write_token_shards", record)
    arguments = {
        "image_size": 16,
        "high_res_image_size": 32,
        "num_views": 2,
        "crop_scale": (0.5, 0.9),
        "rows_per_shard": 7,
        "batch_size": 4,
        "store": "text_ids",
        "seed": 3,
    }
    options = ["--random-flip", "--overwrite", "--coordinator", "host:1"]
    for name, value in {
        **arguments, "num_processes": 2, "process_id": 1
    }.items():  # fmt: skip
        values = value if isinstance(value, tuple) else (value,)
        options += [f"--{name.replace('_', '-')}", *map(str, values)]
    tokenize("emoji", preset, tmp_path, *options)
    tokenize(pictures, preset, tmp_path, "--other-grid")
    assert no_job == [("host:1", 2, 1), (None, None, None)]
    (args, kwargs), (own_args, own_kwargs) = calls
    assert kwargs.pop("high_res_tokenizer") is args[2]
    assert kwargs == {**arguments, "random_flip": True, "overwrite": True}
    assert args[0].num_examples > 1000 and own_args[0].num_examples == 5
    assert args[1] == str(tmp_path)
    assert own_kwargs.pop("high_res_tokenizer") is None
    # Of those that are not given, the defaults are the function's.
    defaults = inspect.signature(write_token_shards).parameters
    assert own_kwargs.pop("rows_per_shard") == 3
    for name, value in own_kwargs.items():
        assert value == defaults[name].default


@pytest.mark.parametrize(
    "options, words",
    [
        (["--preset", "no/such/preset"], "no/such/preset"),
        (["--image-size", "16", "--num-views", "0"], "`num_views`.*0"),
        (["--image-size", "16", "--store", "words"], "`store`.*words"),
        (["--split", "no such split"], "no such split"),
        (["--image-size", "17"], "downsampling"),
        (["--image-size", "0"], "`image_size`.*of 0 x 0"),
        (["--image-size", "-8", "--other-grid"], "`image_size`.*positive.*-8"),
        (["--image-size", "20"], "`image_size`.*16 x 16.*4 x 4.*of 20 x 20"),
        ([], "`image_size`.*16 x 16.*of 40 x 40"),
    ],
)
def test_what_cannot_be_tokenized_is_said_in_one_line(
    options, words, pictures, preset, tmp_path, no_job
):
    with pytest.raises(SystemExit, match=f"keras-muse: .*{words}") as caught:
        tokenize(pictures, preset, tmp_path / "out", *options)
    assert "\n" not in caught.value.code
    assert not (tmp_path / "out/metadata.json").exists()


def test_large_pictures_must_have_the_grid_of_the_super_resolution(
    pictures, preset, tmp_path, no_job, monkeypatch
):
    grids = {"base": (4, 4), "super_res": (8, 8)}
    monkeypatch.setattr(muse_preset, "grid_sizes", lambda preset: grids)
    with pytest.raises(
        SystemExit, match="`high_res_image_size`.*32 x 32.*8 x 8.*of 64 x 64"
    ):
        tokenize(
            *(pictures, preset, tmp_path / "out"),
            *("--image-size", "16", "--high-res-image-size", "64"),
        )
    assert not (tmp_path / "out").exists()


def test_a_job_without_an_address_is_not_taken_for_none(
    pictures, preset, tmp_path, monkeypatch
):
    """Else each process would do all the work, in the same place."""

    def find_no_job(*given):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(distribution, "initialize", find_no_job)
    with pytest.raises(SystemExit, match="coordinator_address"):
        tokenize(
            *(pictures, preset, tmp_path / "out"),
            *("--num-processes", "2", "--process-id", "0"),
        )
    assert not (tmp_path / "out").exists()


def test_two_processes_tokenize_with_one_command(pictures, preset, tmp_path):
    address = free_address()
    started = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", RUN, "tokenize", pictures),
                *("--preset", preset, "--output", str(tmp_path / "out")),
                *("--rows-per-shard", "3", "--coordinator", address),
                "--other-grid",
                *("--num-processes", "2", "--process-id", str(i)),
            ],
            env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    try:
        for process in started:
            log = process.communicate(timeout=600)[0]
            assert process.returncode == 0, log
            assert "5 pictures, 0 skipped" in log
    finally:
        for process in started:
            process.kill()
    dataset = data.read_token_shards(str(tmp_path / "out"), 5, shuffle=False)
    images, _ = load_image_text(pictures).as_arrays()
    tokens = shared_muse(cascade=False).image_tokenizer.encode(images)
    np.testing.assert_array_equal(
        dataset[0]["token_ids"], tokens.reshape(5, -1)
    )


RUN = """
import sys
from keras_muse.cli import main
try:
    main(sys.argv[1:])
finally:
    import keras
    print("backend", keras.config.backend())
"""
