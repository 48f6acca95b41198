import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_muse import cli
from keras_muse import samplers
from keras_muse.models import PictureTextScorer
from keras_muse.samplers import ConfidenceSampler
from tests.helpers.tiny_muse import shared_muse
from tests.helpers.tiny_muse import tiny_muse

ROOT = pathlib.Path(__file__).parent.parent
# Those that the preset keeps; no command has any of its own.
DEFAULTS = {
    "guidance_scale": 2.5,
    "sampler": ConfidenceSampler(temperature=0.6),
}


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("preset") / "muse"
    muse = tiny_muse(cascade=False, generation_defaults=DEFAULTS)
    muse.save_to_preset(str(directory))
    return str(directory)


def generate(preset, output, *options):
    cli.main(
        [
            *("generate", "a red apple", "--preset", preset),
            *("--output", str(output), "--num-steps", "3", "--seed", "0"),
            *options,
        ]
    )
    return np.asarray(Image.open(output))


def expected(**options):
    muse = shared_muse(cascade=False)
    defaults = {"num_steps": 3, **DEFAULTS, "seed": 0, "verbose": 0}
    return muse.generate("a red apple", **{**defaults, **options})[0]


def test_generate_writes_the_picture_of_the_seed(preset, tmp_path, capsys):
    output = tmp_path / "apple.png"
    np.testing.assert_array_equal(generate(preset, output), expected())
    assert capsys.readouterr().out.splitlines()[-1] == str(output)


def test_generate_passes_its_options_on(preset, tmp_path):
    picture = generate(
        *(preset, tmp_path / "apple.png", "--seed", "7"),
        *("--guidance-scale", "5", "--negative-prompt", "blue"),
        *("--temperature", "0.9"),
    )
    np.testing.assert_array_equal(
        picture,
        expected(
            seed=7,
            guidance_scale=5.0,
            negative_prompts="blue",
            sampler=ConfidenceSampler(temperature=0.9),
        ),
    )


def test_a_picture_of_a_preset_directory_is_drawn_again(preset, tmp_path):
    picture = generate(preset, tmp_path / "apple.png", "--seed", "7")
    again = str(tmp_path / "again.png")
    source = str(tmp_path / "apple.png")
    cli.main(["generate", "--from", source, "--output", again])
    np.testing.assert_array_equal(np.asarray(Image.open(again)), picture)


def test_generate_takes_a_sampler_by_name(preset, tmp_path):
    picture = generate(preset, tmp_path / "apple.png", "--sampler", "halton")
    # A temperature suits a model, whatever the sampler.
    sampler = samplers.get("halton", temperature=0.6)
    np.testing.assert_array_equal(picture, expected(sampler=sampler))
    with pytest.raises(SystemExit, match="Received: sampler='halten'"):
        generate("nowhere", tmp_path / "a.png", "--sampler", "halten")


def test_generate_keeps_the_best_of_candidates(preset, tmp_path):
    scorer = PictureTextScorer.from_preset("emoji_scorer").score
    picture = generate(preset, tmp_path / "apple.png", "--best-of", "3")
    best = expected(best_of=3, scorer=scorer)
    np.testing.assert_array_equal(picture, best)
    # Which is one of those of the seeds 0, 1 and 2.
    candidates = [expected(seed=seed) for seed in range(3)]
    scores = scorer(np.stack(candidates), ["a red apple"] * 3)
    np.testing.assert_array_equal(picture, candidates[np.argmax(scores)])


def test_generate_imports_no_tensorflow_and_prints_no_log_lines(
    preset, tmp_path
):
    script = (
        "import sys\n"
        "from keras_muse.cli import main\n"
        "main(sys.argv[1:])\n"
        "assert 'tensorflow' not in sys.modules"
    )
    result = subprocess.run(
        [
            *(sys.executable, "-c", script, "generate", "a red apple"),
            *("--preset", preset, "--output", str(tmp_path / "apple.png")),
            *("--num-steps", "2"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0 and result.stderr == ""


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--preset", "no/such/preset"], ["no/such/preset"]),
        (["--num-steps", "0"], ["num_steps", "0"]),
        (["--output", "apple.unknown"], ["--output", ".unknown"]),
        (["--output", "apple"], ["--output apple"]),
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


def test_a_wrong_name_is_found_before_a_picture_is_drawn(tmp_path):
    with pytest.raises(SystemExit, match="`--output` must be"):
        generate("no/such/preset", tmp_path / "apple.unknown")


def test_missing_directories_are_made(preset, tmp_path):
    generate(preset, tmp_path / "new" / "apple.PNG")
    assert os.listdir(tmp_path / "new") == ["apple.PNG"]


def test_a_damaged_preset(preset, tmp_path):
    with pytest.raises(SystemExit, match="keras-muse: .*neither muse.json"):
        generate(f"{preset}/base", tmp_path / "apple.png")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["generate", "a cat"],
        ["quickstart"],
        ["tokenize", "emoji"],
    ],
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
            *("--seed", "0"),
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
