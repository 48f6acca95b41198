import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_muse import cli
from keras_muse import quickstart
from tests.tiny_muse import shared_muse

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("preset") / "muse"
    shared_muse(cascade=False).save_to_preset(str(directory))
    return str(directory)


def generate(preset, output, *options):
    cli.main(
        [
            *("generate", "a red apple", "--preset", preset),
            *("--output", str(output), "--num-steps", "3", *options),
        ]
    )
    return np.asarray(Image.open(output))


def expected(**options):
    muse = shared_muse(cascade=False)
    return muse.generate(
        "a red apple", **{"num_steps": 3, "seed": 0, "verbose": 0, **options}
    )[0]


def test_generate_writes_the_picture_of_the_seed(preset, tmp_path, capsys):
    output = tmp_path / "apple.png"
    np.testing.assert_array_equal(generate(preset, output), expected())
    assert capsys.readouterr().out.splitlines()[-1] == str(output)


def test_generate_passes_its_options_on(preset, tmp_path):
    picture = generate(
        *(preset, tmp_path / "apple.png", "--seed", "7"),
        *("--guidance-scale", "5", "--negative-prompt", "blue"),
    )
    np.testing.assert_array_equal(
        picture,
        expected(seed=7, guidance_scale=5.0, negative_prompts="blue"),
    )


def test_quickstart_passes_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(
        quickstart, "quickstart", lambda *arguments: calls.append(arguments)
    )
    cli.main(["quickstart", "--output", "here"])
    cli.main(
        ["quickstart", "--output", "a b", "--minutes", "2.5", "--seed", "3"]
    )
    assert calls == [("here", 18.0, 0), ("a b", 2.5, 3)]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--preset", "no/such/preset"], ["no/such/preset"]),
        (["--num-steps", "0"], ["num_steps", "0"]),
        (["--output", "no/such/directory/a.png"], ["no/such/directory"]),
        (["--output", "apple.unknown"], [".unknown"]),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments, words, preset, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    options = {
        "--preset": preset,
        "--output": "apple.png",
        "--num-steps": "1",
        arguments[0]: arguments[1],
    }
    flat = [word for pair in options.items() for word in pair]
    with pytest.raises(SystemExit) as caught:
        cli.main(["generate", "a cat", *flat])
    message = caught.value.code
    assert message.startswith("keras-muse: ") and "\n" not in message
    for word in words:
        assert word in message
    assert os.listdir(tmp_path) == []


def test_a_damaged_preset(preset, tmp_path):
    with pytest.raises(SystemExit, match="keras-muse: .*no muse.json"):
        generate(f"{preset}/base", tmp_path / "apple.png")


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_minutes_must_be_above_zero(minutes, tmp_path):
    with pytest.raises(SystemExit, match="--minutes.*above 0"):
        cli.main(
            [
                *("quickstart", "--output", str(tmp_path / "out")),
                f"--minutes={minutes}",
            ]
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [[], ["paint"], ["generate", "a cat"], ["quickstart"]]
)
def test_a_wrong_command_line_shows_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: keras-muse" in capsys.readouterr().err


RUN = """
import sys
from keras_muse.cli import main
try:
    main(sys.argv[1:])
finally:
    import keras
    print("backend", keras.config.backend())
"""


@pytest.mark.parametrize("backend", [None, "torch"])
def test_the_backend_is_that_of_the_environment(backend, preset, tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": backend}
    if backend is None:
        del environment["KERAS_BACKEND"]
        environment["KERAS_HOME"] = str(tmp_path)  # and no settings file
    output = tmp_path / "apple.png"
    process = subprocess.run(
        [
            *(sys.executable, "-c", RUN, "generate", "a red apple"),
            *("--preset", preset, "--output", str(output), "--num-steps", "3"),
        ],
        env=environment,
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert f"backend {backend or 'jax'}" in process.stdout
    difference = np.asarray(Image.open(output)).astype(int) - expected()
    assert np.abs(difference).max() <= 1


def test_the_exit_status_is_not_zero():
    process = subprocess.run(
        [
            *(sys.executable, "-c", RUN, "generate", "a", "--output", "a.png"),
            *("--preset", "no/such/preset"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith("keras-muse: ")
