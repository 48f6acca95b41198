"""The same start for every test; KERAS_BACKEND picks the backend."""

import gc
import itertools
import os
import tempfile

from tests.helpers.xla_flags import xla_flags

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

os.environ.setdefault("XLA_FLAGS", xla_flags())
# Each process of pytest-xdist has a core: threads would fight.
for name in (
    "OMP_NUM_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
):
    os.environ.setdefault(name, "1")
# The tests compile the same small programs many times, in many processes: the
# first process makes a place for them, and all others find it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    compiled = tempfile.TemporaryDirectory(prefix="keras_muse_tests_")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import keras  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture(autouse=True)
def same_start():
    """Seeds the generators, and takes back a change of the global policy."""
    keras.utils.set_random_seed(0)
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


def pytest_fixture_setup(fixturedef):
    """What tests share is the same, whichever of them asks for it first."""
    if fixturedef.scope != "function":
        keras.utils.set_random_seed(0)


# Files that share what JAX has compiled: their models are mostly the same, and
# many files compile nothing.
FILES_TOGETHER = 10
finished_files = itertools.count(1)


@pytest.fixture(autouse=True, scope="module")
def small_heap():
    """Takes what is alive out of sight, and at times lets go of programs.

    Python would search all that is alive for garbage again and again: at the
    end of a run that took most of the time.
    """
    yield
    if next(finished_files) % FILES_TOGETHER == 0:
        gc.unfreeze()
        if keras.config.backend() == "jax":
            import jax

            jax.clear_caches()
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    """The longest come first: at the end no process is alone with one."""
    longest = (
        "tutorials_test.py",
        "checkpoint_test.py",
        "distribution_test.py",
    )
    items.sort(key=lambda item: item.path.name not in longest)
