"""Processes that tokenize together write what one alone writes, on JAX."""

import hashlib
import os
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_muse.data import read_token_shards
from tests.data import tokenize_runs
from tests.helpers import tiny
from tests.helpers.ports import free_address
from tests.helpers.xla_flags import xla_flags

ROOT = pathlib.Path(__file__).parent.parent.parent
# A minute where nothing else runs; more is waited for on a busy machine.
SECONDS = 600


def start(directory, num_records=(0,), num_devices=1):
    """Starts a process for each of `num_records`, after which it dies."""
    address = free_address()
    count = len(num_records)
    directory.mkdir(exist_ok=True)
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.data.tokenize_runs"),
                *(str(directory), str(records)),
                *((address, str(count), str(i)) if count > 1 else ()),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "KERAS_BACKEND": "jax",
                "JAX_PLATFORMS": "cpu",
                "XLA_FLAGS": xla_flags(num_devices),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i, records in enumerate(num_records)
    ]


def finish(started):
    try:
        for process in started:
            log = process.communicate(timeout=SECONDS)[0]
            assert process.returncode == 0, log[-5000:]
            assert f"{len(started)} processes" in log
    finally:
        kill(started)


def kill(started):
    for process in started:
        process.kill()
        process.communicate()


def hashes(directory):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.iterdir()
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The directories of runs of the same jobs."""
    root = tmp_path_factory.mktemp("runs")
    pictures = root / "pictures"
    pictures.mkdir()
    for i, image in enumerate(tiny.tiny_images(16, size=(24, 20))):
        Image.fromarray(image).save(pictures / f"{i:02d}.png")
        (pictures / f"{i:02d}.txt").write_text(
            "\n".join(tokenize_runs.captions(i))
        )
    (pictures / "15.png").write_bytes((pictures / "15.png").read_bytes()[:60])
    one, three = root / "one", root / "three"
    # One process; and two, of which one is killed in its second shard.
    alone, dying = start(one), start(three, [0, 4])
    try:
        dying[1].wait(timeout=SECONDS)
    finally:
        kill(dying)
    assert dying[1].returncode == -signal.SIGKILL
    finish(alone)
    # Three go on where the two were, with two devices each.
    done = list(three.glob("folder/.partial/*.json"))
    assert len(done) > 1 and not (three / "folder/metadata.json").exists()
    finish(start(three, [0, 0, 0], num_devices=2))
    return one, three


@pytest.mark.parametrize("job, num_files", [("folder", 7), ("iterable", 5)])
def test_bytes_are_those_of_one_process(runs, job, num_files):
    one, three = runs
    expected = hashes(one / job)
    assert len(expected) == num_files
    assert hashes(three / job) == expected


def test_the_tokens_differ(runs):
    """So that the other tests mean something."""
    dataset = read_token_shards(str(runs[0] / "folder"), 15, shuffle=False)
    batch = dataset[0]
    assert len(np.unique(batch["token_ids"], axis=0)) > 6
    assert len(np.unique(batch["token_ids"])) > 4
    assert dataset.metadata["report"]["num_skipped"] == 1


def checked(runs):
    return [np.load(runs[1] / f"checked_{i}.npz") for i in range(3)]


def test_a_process_reads_its_part_without_being_told(runs):
    whole = read_token_shards(str(runs[0] / "folder"), 6)[0]
    parts = checked(runs)
    for name, value in whole.items():
        both = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(both, value)


@pytest.mark.parametrize(
    "error, message, of_second",
    [
        ("failed", r"failed processes \[1\]", "divisible by the downsampling"),
        ("settings", r"failed processes \[1\]", "`directory`.*another seed"),
        ("devices", "its own devices", None),
        ("text_ids", "a distribution over several processes", None),
        ("mesh", "batch_size=9 for 3 processes with 2 parts each", None),
    ],
)
def test_errors_reach_all_processes(runs, error, message, of_second):
    expected = [message, of_second or message, message]
    for messages, words in zip(checked(runs), expected, strict=True):
        assert re.search(words, str(messages[error]))
