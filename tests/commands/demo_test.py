"""`keras-muse demo`, from the command line to a page and to its end."""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from keras_muse import cli
from keras_muse.commands import demo
from keras_muse.demo import limits
from keras_muse.muse.muse import Muse
from tests.helpers.tiny_muse import shared_muse


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(["demo", *arguments])
    capsys.readouterr()
    return str(caught.value)


def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    words = refusal(capsys)
    assert "pip install 'keras-muse[demo]'" in words
    assert "\n" not in words and "gradio" in words


def test_a_busy_port_is_named_before_anything_is_loaded(capsys):
    pytest.importorskip("gradio")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        words = refusal(capsys, "--port", port, "--preset", "nowhere")
    assert f"The port {port} of 127.0.0.1" in words
    assert words.endswith(f"Received: --port {port}")


def test_a_queue_without_a_place_is_refused(capsys):
    pytest.importorskip("gradio")
    assert "Received: --queue 0" in refusal(capsys, "--queue", "0")


def test_its_default_queue_is_that_of_the_page(capsys):
    options = cli._parsed(["demo"])
    assert options.queue == limits.QUEUE and options.host == "127.0.0.1"
    assert options.preset == demo.DEFAULT_PRESET and options.port is None


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_service_that_is_ended_cleans_up_as_after_ctrl_c(monkeypatch, name):
    number = getattr(signal, name)
    pytest.importorskip("gradio")
    ended = []

    def end():
        for _ in range(6000):
            if signal.getsignal(number) is not signal.SIG_DFL:
                break
            time.sleep(0.01)  # nobody hears it yet: it would end the tests
        os.kill(os.getpid(), number)

    @contextlib.contextmanager
    def serving(*arguments):
        threading.Thread(target=end).start()
        try:
            yield "http://127.0.0.1:1"
        finally:
            ended.append(arguments[1:])

    monkeypatch.setattr("keras_muse.demo.server.serving", serving)
    monkeypatch.setattr(Muse, "from_preset", lambda preset: None)
    before = [signal.getsignal(x) for x in (signal.SIGTERM, signal.SIGHUP)]
    signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt):
            demo.run(cli._parsed(["demo", "--queue", "3"]))
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGHUP, before[1])
    assert ended == [("muse_emoji", "127.0.0.1", None, 3)]


def test_the_page_is_up_until_it_is_interrupted(tmp_path):
    pytest.importorskip("gradio")
    preset = tmp_path / "preset"
    shared_muse(cascade=False).save_to_preset(str(preset))
    script = (
        "import signal, sys\n"
        # A shell that starts in the background has taken it away.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from keras_muse.cli import main\n"
        "main(sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "demo", "--preset", str(preset)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.getcwd(),
            "TMPDIR": str(tmp_path),
        },
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("The page is at http://127.0.0.1:"), (
            line + process.stderr.read()
        )
        address = line.split()[4]
        with urllib.request.urlopen(address) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    # Interrupted while it still prints, Python writes the line once more.
    assert process.returncode == 130 and rest in ("", line)
    assert errors == "keras-muse: interrupted\n"
    # Not a file is left of it.
    assert [path.name for path in tmp_path.iterdir()] == ["preset"]
