"""Large memory pages, for a command that trains with JAX on a processor.

XLA asks the C library for the buffers of each step and gives them back after
it. In pages of 4 KiB the system finds and clears them anew each time, a third
of what a step of a small transformer cost; in pages of 2 MiB that is next to
nothing. Linux has a switch for who gets them, mostly at "those who ask".
"""

import os
import pathlib
import sys

SWITCH = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
VARIABLE, SETTING = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"


def restart_with_huge_pages():
    """Starts this process' program anew with large pages, where they help.

    The C library of Linux reads the setting as a program starts, so a running
    one cannot ask. One that has settings of its own keeps them, and so does
    whoever calls the command from a program of theirs.
    """
    if (
        os.environ.get("KERAS_BACKEND") == "jax"
        and VARIABLE not in os.environ
        and pathlib.Path(sys.argv[0]).name == "keras-muse"
        and _is_given_to_those_who_ask()
    ):
        environment = {**os.environ, VARIABLE: SETTING}
        os.execve(sys.executable, sys.orig_argv, environment)


def _is_given_to_those_who_ask():
    try:
        return "[madvise]" in SWITCH.read_text(encoding="utf-8")
    except OSError:  # another system, or one without the switch
        return False
