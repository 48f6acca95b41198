import os
import pathlib
import subprocess
import sys

import pytest

from keras_muse.runtime import home

ROOT = pathlib.Path(__file__).parents[2]
# Any user can try it so: the system knows neither a home nor the user.
NOBODY = """
import os, pwd
def unknown(uid):
    raise KeyError("getpwuid(): uid not found")
pwd.getpwuid = unknown
"""


def run_as_nobody(script, **environment):
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR")
    }
    return subprocess.run(
        [sys.executable, "-c", NOBODY + script],
        cwd=ROOT,
        env={**kept, "KERAS_BACKEND": "jax", **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(os.name == "nt", reason="users of another kind")
def test_without_a_home_models_are_imported_and_the_command_line_says_so():
    result = run_as_nobody(
        "from keras_muse.cli import main\n"
        "try:\n"
        "    main(['generate', 'a', '--output', 'a.png', '--preset', 'b'])\n"
        "except SystemExit as error:\n"
        "    print(error)\n"
        "import keras_muse\n"
        "print(keras_muse.MuseBase.__name__)\n"
    )
    assert result.returncode == 0, result.stderr
    assert "Received: preset='b'" in result.stdout
    assert result.stdout.endswith("MuseBase\n")
    (line,) = result.stderr.splitlines()
    assert "not kept for the next time: there is no home directory" in line


def test_a_home_is_left_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv(home.VARIABLE, str(tmp_path))
    home.ensure_home()
    assert os.environ[home.VARIABLE] == str(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert home.user_cache_directory().is_relative_to(tmp_path)


def test_a_named_cache_is_used_without_a_home(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv(home.VARIABLE, os.devnull)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert home.user_cache_directory() == tmp_path / "keras_muse"
    monkeypatch.delenv("XDG_CACHE_HOME")
    with pytest.raises(FileNotFoundError, match="no home directory"):
        home.user_cache_directory()
