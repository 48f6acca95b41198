import json
import os
import pathlib
import subprocess
import sys

import pytest

from keras_muse.runtime import compilation_cache

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """A process in which nobody has decided yet."""
    names = (
        *("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"),
        *compilation_cache.SETTINGS,
    )
    for name in names:
        # First a value, so that the end of the test takes back what comes.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    return monkeypatch


def test_programs_are_kept_in_the_users_cache(environment, tmp_path):
    directory = compilation_cache.enable_compilation_cache()
    assert directory.parent == tmp_path / "keras_muse"
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(directory)
    assert list(directory.iterdir()) == []


def test_who_has_decided_is_left_alone(environment, tmp_path):
    for name, value in (
        ("JAX_COMPILATION_CACHE_DIR", "elsewhere"),
        ("JAX_ENABLE_COMPILATION_CACHE", "0"),
        ("KERAS_BACKEND", "torch"),
    ):
        with environment.context() as patch:
            patch.setenv(name, value)
            before = dict(os.environ)
            assert compilation_cache.enable_compilation_cache() is None
            assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("obstacle", ["a file", "no home directory"])
def test_where_nothing_can_be_written_the_work_goes_on(
    environment, tmp_path, capsys, obstacle
):
    if obstacle == "a file":
        (tmp_path / "file").write_text("in the way")
        environment.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    else:
        environment.delenv("XDG_CACHE_HOME")
        environment.setenv("HOME", os.devnull)
    assert compilation_cache.enable_compilation_cache() is None
    message = capsys.readouterr().err
    assert message.startswith("keras-muse: compiled programs are not kept")
    assert len(message.splitlines()) == 1
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_processors_have_programs_of_their_own(monkeypatch):
    name = compilation_cache.processor_id()
    assert name == compilation_cache.processor_id()
    for text in ("flags\t: avx2 fma", "flags\t: avx2 fma avx512f"):
        monkeypatch.setattr(
            pathlib.Path, "read_text", lambda _, encoding, t=text: t
        )
        assert compilation_cache.processor_id() != name
        name = compilation_cache.processor_id()


PROGRAM = """
import json, os
from keras_muse.runtime.compilation_cache import enable_compilation_cache
enable_compilation_cache()
import jax
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
total = jax.jit(lambda x: (x * 2).sum())(jax.numpy.arange(4.0))
hits = events.count("/jax/compilation_cache/cache_hits")
print(json.dumps([float(total), hits]))
"""


def run_program():
    """The result, how many programs were found, and what else was said."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return *json.loads(done.stdout), done.stderr


def test_the_next_process_compiles_nothing(environment, tmp_path):
    assert run_program()[:2] == (12, 0)
    total, hits, _ = run_program()
    assert total == 12 and hits > 0
    # What is left of a process that is killed while JAX keeps a program.
    (directory,) = (tmp_path / "keras_muse").iterdir()
    for program in directory.glob("*-cache"):
        program.write_bytes(program.read_bytes()[:10])
        (directory / program.name.replace("-cache", "-atime")).unlink()
    total, no_hits, said = run_program()
    assert total == 12 and no_hits == 0
    assert "compilation cache" not in said
    assert run_program()[1] == hits
