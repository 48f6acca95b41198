"""Keras, imported as a command wants it."""

import contextlib
import os
import sys


def import_keras():
    """Imports Keras and KerasHub without the log lines of TensorFlow."""
    with _no_log_lines():
        import keras  # noqa: F401
        import keras_hub  # noqa: F401


@contextlib.contextmanager
def without_tensorflow():
    """Inside, TensorFlow is not found, unless it is the backend.

    KerasHub imports it wherever it finds it, which takes longer than all the
    rest, and uses it for what drawing a picture does not need.
    """
    is_backend = os.environ.get("KERAS_BACKEND") == "tensorflow"
    names = () if is_backend else ("tensorflow", "tensorflow_text")
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
