"""Ctrl-C as a person presses it."""

import contextlib
import signal


@contextlib.contextmanager
def heard():
    """A scope in which Ctrl-C is heard.

    A shell that starts a process in the background lets it ignore Ctrl-C.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def press():
    signal.raise_signal(signal.SIGINT)
