"""The command line where something around it is not as it should be."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
from PIL import Image

from keras_muse import cli
from keras_muse.commands import generate
from keras_muse.data import processes
from tests.helpers import interrupts
from tests.helpers.tiny_muse import tiny_muse

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A directory of things that are not what they are taken for."""
    places = tmp_path_factory.mktemp("places")
    tiny_muse(cascade=False).save_to_preset(str(places / "muse"))
    for name in ("empty", "folder.png", "pictures", "cut", "cut_muse"):
        (places / name).mkdir()
    for name in ("file", "empty.csv", "empty.tar", "none.zip"):
        (places / name).write_text("")
    (places / "cut/config.json").write_text("{")
    for name in ("cut", "cut_muse"):
        (places / name / "muse.json").write_text("{")
    os.mkfifo(places / "pipe")
    for name, file in {
        "pipe_config": "config.json", "pipe_weights": "model.weights.h5"
    }.items():  # fmt: skip
        shutil.copytree(places / "muse", places / name)
        os.remove(places / name / "base" / file)
        os.mkfifo(places / name / "base" / file)
    Image.new("RGB", (16, 16)).save(places / "pictures/a.png")
    (places / "pictures/a.txt").write_text("a cat")
    return places


@pytest.fixture
def here(places, monkeypatch):
    monkeypatch.chdir(places)
    # This process has long used its devices, and joins no other.
    monkeypatch.setattr(processes, "join", lambda *given: None)
    return places


def message_of(*arguments):
    """The line with which the command line ends."""
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return caught.value.code


GENERATE = ("generate", "a cat", "--preset", "muse", "--output", "a.png")
TOKENIZE = ("tokenize", "pictures", "--preset", "muse", "--output", "tokens")
EVALUATE = ("evaluate", "muse", "--output", "scores", "--data", "pictures")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((*GENERATE, "--preset", "missing"), "preset='missing'"),
        ((*GENERATE, "--preset", "file"), "preset='file'"),
        ((*GENERATE, "--preset", "pipe"), "preset='pipe'"),
        ((*GENERATE, "--preset", ""), "preset=''"),
        ((*GENERATE, "--preset", "empty"), "preset='empty'"),
        ((*GENERATE, "--preset", "cut"), "`config.json`"),
        ((*GENERATE, "--preset", "cut_muse"), "`muse.json`"),
        ((*GENERATE, "--preset", "pipe_config"), "no regular file"),
        ((*GENERATE, "--preset", "pipe_weights"), "no regular file"),
        ((*GENERATE, "--output", ""), "no name of a place"),
        ((*GENERATE, "--output", "folder.png"), "'folder.png'"),
        ((*GENERATE, "--output", "file/a.png"), "'file/a.png'"),
        ((*GENERATE, "--output", "pipe/a/b.png"), "'pipe/a/b.png'"),
        ((*GENERATE, "--output", "a"), "--output a"),
        ((*GENERATE, "--output", "a\0.png"), "null"),
        ((*GENERATE, "--num-steps", "0"), "num_steps=0"),
        ((*GENERATE, "--guidance-scale", "nan"), "guidance_scale=nan"),
        ((*GENERATE, "--seed", str(2**40)), f"seed={2**40}"),
        ((*GENERATE, "--best-of", "-1"), "best_of=-1"),
        (("generate", "\udcff", *GENERATE[2:]), r"prompts[0]='\udcff'"),
        (("tokenize", "missing", *TOKENIZE[2:]), "path='missing'"),
        (("tokenize", "empty", *TOKENIZE[2:]), "path='empty'"),
        (("tokenize", "pipe", *TOKENIZE[2:]), "path='pipe'"),
        (("tokenize", "/dev/zero", *TOKENIZE[2:]), "path='/dev/zero'"),
        (("tokenize", "empty.csv", *TOKENIZE[2:]), "path='empty.csv'"),
        (("tokenize", "empty.tar", *TOKENIZE[2:]), "damaged archive"),
        (("tokenize", "none.zip", *TOKENIZE[2:]), "damaged archive"),
        ((*TOKENIZE, "--output", "file"), "'file'"),
        ((*TOKENIZE, "--preset", "pipe"), "preset='pipe'"),
        ((*TOKENIZE, "--crop-scale", "nan", "1"), "crop_scale=(nan, 1.0)"),
        ((*TOKENIZE, "--batch-size", "0"), "batch_size=0"),
        ((*EVALUATE, "--data", "pipe"), "path='pipe'"),
        ((*EVALUATE, "--num-prompts", "0"), "num_prompts=0"),
        ((*EVALUATE, "--output", "pipe"), "'pipe'"),
        (("convert", "empty", "--output", "new"), "empty"),
        (("convert", "pipe", "--output", "new"), "pipe"),
        (("convert", "pipe_config/base", "--output", "new"), "no regular file"),
        (("convert", "muse", "--output", "new"), "source='muse'"),
        (("convert", "empty", "--output", "pictures"), "--output pictures"),
        (("convert", "empty", "--output", "pictures", "--overwrite"), "empty"),
        (("quickstart", "--output", "q", "--minutes", "nan"), "minutes=nan"),
        (("quickstart", "--output", "q", "--seed", "-1"), "seed=-1"),
        (("quickstart", "--output", "file"), "'file'"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(here, capfd, arguments, words):
    before = sorted(os.listdir(here))
    message = message_of(*arguments)
    assert message.startswith("keras-muse: ") and "\n" not in message
    assert words in message
    assert "Traceback" not in capfd.readouterr().err
    # Token shards that were begun can be gone on with.
    assert set(os.listdir(here)) - {"tokens"} == set(before) - {"tokens"}


@pytest.mark.parametrize(
    "error, message",
    [
        (KeyError("name"), "keras-muse: KeyError: 'name'"),
        (RuntimeError("a\nb"), "keras-muse: RuntimeError: a b"),
        (OSError(28, "No room", "a.png"), "keras-muse: [Errno 28] No room: 'a"),
        (ImportError("pip install it"), "keras-muse: pip install it"),
        (ValueError(), "keras-muse: ValueError: "),
        (ValueError("long " * 10**4), "keras-muse: long long"),
    ],
)
def test_nothing_ends_in_a_traceback(here, monkeypatch, error, message):
    def fail(options):
        raise error

    monkeypatch.setattr(generate, "run", fail)
    said = message_of(*GENERATE)
    assert said.startswith(message) and len(said) < 1100 and "\n" not in said


def test_control_c_is_said_in_one_line(here, monkeypatch, capsys):
    def interrupted(options):
        interrupts.press()

    monkeypatch.setattr(generate, "run", interrupted)
    with interrupts.heard():
        assert message_of(*GENERATE) == 130
        # Pressed again while the process ends, it is not heard any more.
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert capsys.readouterr().err == "keras-muse: interrupted\n"


def test_a_place_is_looked_at_before_the_work(here, tmp_path, monkeypatch):
    """Hours later all would be lost."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):  # nothing keeps this user from writing
        monkeypatch.setattr(os, "access", lambda path, mode: False)

    def work(options):
        pytest.fail("It began.")

    for command in cli.COMMANDS.values():
        monkeypatch.setattr(command, "run", work)
    for arguments in (GENERATE, TOKENIZE, EVALUATE):
        place = str(folder / "new/a.png")
        message = message_of(*arguments, "--output", place)
        assert message.endswith(f"ermission denied: '{place}'")


def test_a_picture_is_drawn_for_nobody_to_hear(here):
    """Its reader has gone, and no error can be shown."""
    reading, writing = os.pipe()
    os.close(reading)
    command = "import sys; from keras_muse.cli import main; main(sys.argv[1:])"
    arguments = [*GENERATE, "--num-steps", "2", "--output", "heard.png"]
    process = subprocess.run(
        [
            *("sh", "-c", 'exec "$0" "$@" <&- 2>&-'),
            *(sys.executable, "-c", command, *arguments),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writing,
    )
    os.close(writing)
    assert process.returncode == 0
    assert Image.open(here / "heard.png").size == (16, 16)
    os.remove(here / "heard.png")
