import inspect
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_muse import cli
from keras_muse import data
from keras_muse import samplers
from keras_muse.commands import recipe
from keras_muse.data import load_image_text
from keras_muse.data import processes
from keras_muse.data import write_token_shards
from keras_muse.models import PictureTextScorer
from keras_muse.muse import preset as muse_preset
from keras_muse.samplers import ConfidenceSampler
from keras_muse.training import distribution
from tests.helpers.tiny import tiny_images
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


# === tokenize ===


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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
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
    for process in started:
        log = process.communicate(timeout=120)[0]
        assert process.returncode == 0, log
        assert "5 pictures, 0 skipped" in log
    dataset = data.read_token_shards(str(tmp_path / "out"), 5, shuffle=False)
    images, _ = load_image_text(pictures).as_arrays()
    tokens = shared_muse(cascade=False).image_tokenizer.encode(images)
    np.testing.assert_array_equal(
        dataset[0]["token_ids"], tokens.reshape(5, -1)
    )


# === quickstart, and all commands ===


def test_quickstart_passes_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(
        recipe, "quickstart", lambda *arguments: calls.append(arguments)
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
