import io
import os
import pathlib
import subprocess
import sys

import pytest

from keras_muse.runtime.streams import outliving_streams
from tests.helpers.tiny import tiny_base
from tests.helpers.tiny import tiny_data

ROOT = pathlib.Path(__file__).parents[2]


def text_stream(descriptor):
    return io.TextIOWrapper(os.fdopen(descriptor, "wb"), encoding="ascii")


def test_what_is_printed_arrives(monkeypatch):
    reading, writing = os.pipe()
    stream = text_stream(writing)
    monkeypatch.setattr(sys, "stdout", stream)
    with outliving_streams():
        print("a", end="")
        print("\N{SNOWMAN} and \udcff")
    assert sys.stdout is stream
    print("after")
    stream.close()
    with open(reading, "rb") as pipe:
        assert pipe.read() == b"a\\u2603 and \\udcff\nafter\n"


def test_the_work_goes_on_when_nobody_listens(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    stream = text_stream(writing)
    monkeypatch.setattr(sys, "stdout", stream)
    with outliving_streams():
        for _ in range(3):
            print("not heard", flush=True)
        sys.stdout.write("neither")
    stream.close()


def test_a_full_log_stops_no_work(monkeypatch):
    stream = text_stream(os.open("/dev/full", os.O_WRONLY))
    monkeypatch.setattr(sys, "stdout", stream)
    with outliving_streams():
        print("lost", flush=True)
    stream.close()


CLOSED = """
import os, sys
from keras_muse.runtime.streams import open_closed_streams
open_closed_streams()
with open(sys.argv[1], "w") as file:
    assert file.fileno() > 2
    print("printed")
    print("an error", file=sys.stderr)
    os.write(1, b"by C")
    file.write(repr(sys.stdin.read()))
"""


@pytest.mark.skipif(os.name == "nt", reason="a shell of Unix")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_place_of_a_closed_stream(tmp_path, closed):
    path = tmp_path / "file"
    command = f'"$0" -c "$1" "$2" {closed}'
    subprocess.run(
        ["sh", "-c", command, sys.executable, CLOSED, str(path)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    assert path.read_text() == "''"


def test_a_model_shows_its_progress_to_nobody(monkeypatch):
    """As in a process whose output was closed."""
    monkeypatch.setattr(sys, "stdout", None)
    model = tiny_base()
    predicted = model.predict(tiny_data(model, 2), batch_size=2, verbose=1)
    assert predicted.shape == (2, 16)
    sys.stdout.close()
