"""The tests that depend on the backend, on each of the other two.

One command must test the whole package, so this file runs pytest again with
another `KERAS_BACKEND`, and once with TensorFlow out of reach. Continuous
integration runs the same files itself, on two cores, and leaves this one out.
"""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def run(*arguments, backend):
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "-q"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]


@pytest.mark.skipif(
    os.environ.get("KERAS_BACKEND", "jax") != "jax",
    reason="runs from the JAX tests only, or it would call itself",
)
class TestOtherBackends:
    @pytest.mark.parametrize("backend", ["tensorflow", "torch"])
    def test_backend(self, backend):
        run("@tests/other_backends.txt", backend=backend)

    def test_without_tensorflow(self):
        run(
            *(
                "-p",
                "tests.helpers.no_tensorflow",
                "@tests/without_tensorflow.txt",
            ),
            backend="jax",
        )
