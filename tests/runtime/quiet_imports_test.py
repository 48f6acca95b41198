import os
import pathlib
import subprocess
import sys

import pytest

from keras_muse.runtime.quiet_imports import without_tensorflow

ROOT = pathlib.Path(__file__).parents[2]


def run(script):
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )


def test_importing_prints_nothing():
    result = run(
        "from keras_muse.runtime.quiet_imports import import_keras\n"
        "import_keras()\n"
        "import sys; print('keras_hub' in sys.modules)\n"
        "print('heard', file=sys.stderr)"
    )
    assert result.stdout == "True\n"
    assert result.stderr == "heard\n"


def test_what_is_not_needed_is_not_imported():
    """And is found again by whoever imports it afterwards."""
    result = run(
        "from keras_muse.runtime.quiet_imports import import_keras\n"
        "names = ('grain', 'kagglehub', 'matplotlib')\n"
        "import_keras(names)\n"
        "import sys; print([x for x in names if x in sys.modules])\n"
        "import grain, kagglehub, matplotlib; print(grain.__name__)"
    )
    assert result.stdout == "[]\ngrain\n", result.stderr


def test_a_failed_import_is_heard():
    result = run(
        "import sys; sys.modules['keras_hub'] = None\n"
        "from keras_muse.runtime.quiet_imports import import_keras\n"
        "import_keras()\n"
    )
    assert result.returncode == 1
    assert "import of keras_hub halted" in result.stderr


def test_tensorflow_is_hidden_for_a_while(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    with without_tensorflow():
        with pytest.raises(ImportError):
            import tensorflow  # noqa: F401
    assert "tensorflow" not in sys.modules
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with without_tensorflow():
        assert "tensorflow" not in sys.modules


def test_what_is_imported_already_stays(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    with without_tensorflow():
        assert sys.modules["tensorflow"] is sys
    assert sys.modules["tensorflow"] is sys
