"""Keras, imported as a command wants it."""

import contextlib
import os
import sys


def import_keras(unneeded=()):
    """Imports Keras and KerasHub without the log lines of TensorFlow.

    Args:
        unneeded: strings. Packages that both import where they find them, and
            shall not find: what they do with them is not to be had then, in
            this process.
    """
    with _no_log_lines(), _hidden(unneeded):
        import keras  # noqa: F401
        import keras_hub  # noqa: F401


def without_tensorflow():
    """Inside, TensorFlow is not found, unless it is the backend.

    KerasHub imports it wherever it finds it, which takes longer than all the
    rest, and uses it for what drawing a picture does not need.
    """
    is_backend = os.environ.get("KERAS_BACKEND") == "tensorflow"
    return _hidden(() if is_backend else ("tensorflow", "tensorflow_text"))


@contextlib.contextmanager
def _hidden(names):
    """Inside, packages are not found; those imported already stay."""
    hidden = dict.fromkeys(set(names) - set(sys.modules))
    sys.modules.update(hidden)
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def _no_log_lines():
    """Nothing reaches the standard error; exceptions are raised as ever.

    TensorFlow's C++ writes there whatever `TF_CPP_MIN_LOG_LEVEL` says, before
    it has read it.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
