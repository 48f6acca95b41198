"""Compiled programs of JAX, kept for the next process."""

import hashlib
import os
import pathlib
import platform
import sys
import tempfile

from keras_muse.runtime.home import user_cache_directory

MAX_BYTES = 2**30
SETTINGS = {
    # All programs: a small one takes longer to compile than to read, too.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    # The longest unused go first.
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(MAX_BYTES),
}


def enable_compilation_cache():
    """Lets JAX keep its programs in the user's cache directory.

    It must be called before JAX is imported. Whoever has set
    `JAX_COMPILATION_CACHE_DIR` or `JAX_ENABLE_COMPILATION_CACHE` has decided
    for himself, and nothing is changed. Where nothing can be written, a
    message says so and the work goes on without.

    Returns:
        The directory, or `None`.
    """
    if os.environ.get("KERAS_BACKEND", "jax") != "jax" or {
        "JAX_COMPILATION_CACHE_DIR",
        "JAX_ENABLE_COMPILATION_CACHE",
    } & set(os.environ):
        return None
    try:
        directory = user_cache_directory() / f"jax-{processor_id()}"
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
        _remove_half_written(directory)
    except OSError as error:
        print(
            "keras-muse: compiled programs are not kept for the next time: "
            f"{error}. JAX_COMPILATION_CACHE_DIR names another place.",
            file=sys.stderr,
        )
        return None
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(directory)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    return directory


def _remove_half_written(directory):
    """Removes programs that a kill has left without their time of use.

    JAX writes a program first and its time afterwards, and would neither
    replace such a one nor keep others beside it any more.
    """
    for program in directory.glob("*-cache"):
        time_of_use = program.name.removesuffix("-cache") + "-atime"
        if not (directory / time_of_use).exists():
            program.unlink(missing_ok=True)


def processor_id():
    """A name for what the processor understands.

    Machines may share a home directory, and JAX takes a program for one
    processor to be good for all.
    """
    try:
        lines = (
            pathlib.Path("/proc/cpuinfo")
            .read_text(encoding="utf-8")
            .splitlines()
        )
        features = sorted(
            {
                line
                for line in lines
                if line.startswith(("model name", "flags", "Features"))
            }
        )
    except OSError:
        features = [platform.processor(), platform.node()]
    text = "\n".join([platform.machine(), *features])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
