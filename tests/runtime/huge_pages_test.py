import os
import subprocess
import sys

import pytest

from keras_muse.runtime import huge_pages

# Says who it is, and restarts in between.
PROGRAM = """
import os, pathlib, sys
sys.argv[0] = "/usr/bin/keras-muse"
from keras_muse.runtime import huge_pages
huge_pages.SWITCH = pathlib.Path(sys.argv[1])
print(os.getpid(), sys.argv[2:], os.environ.get("GLIBC_TUNABLES"), flush=True)
huge_pages.restart_with_huge_pages()
print("ends")
"""


@pytest.fixture
def switch(tmp_path):
    path = tmp_path / "enabled"
    path.write_text("always [madvise] never\n")
    return path


def run(switch, **variables):
    environment = {**os.environ, "KERAS_BACKEND": "jax", **variables}
    if "GLIBC_TUNABLES" not in variables:
        environment.pop("GLIBC_TUNABLES", None)
    words = [sys.executable, "-c", PROGRAM, str(switch), "two words", "é"]
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of Linux")
def test_the_same_process_starts_again_once_with_the_same_words(switch):
    first, second, end = run(switch)
    process = first.split()[0]
    assert first == f"{process} ['two words', 'é'] None"
    assert second == f"{process} ['two words', 'é'] glibc.malloc.hugetlb=1"
    assert end == "ends"


@pytest.mark.parametrize("chosen", ["[always] madvise never", "always [never]"])
def test_where_all_or_none_get_them_it_does_not(switch, chosen):
    switch.write_text(chosen)
    assert len(run(switch)) == 2


def test_without_the_switch_it_does_not(tmp_path):
    assert len(run(tmp_path / "absent")) == 2


@pytest.mark.parametrize(
    "variables",
    [{"GLIBC_TUNABLES": "glibc.malloc.check=0"}, {"KERAS_BACKEND": "torch"}],
)
def test_what_a_user_has_chosen_stays(switch, variables):
    assert len(run(switch, **variables)) == 2


def test_a_program_that_calls_the_command_is_not_restarted(switch, monkeypatch):
    monkeypatch.setattr(huge_pages, "SWITCH", switch)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("restarted"))
    huge_pages.restart_with_huge_pages()
