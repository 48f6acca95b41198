"""The tests that depend on the backend, on each of the other two.

One command must test the whole package, so this file runs pytest again with
another `KERAS_BACKEND`, and once with TensorFlow out of reach.
"""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
BACKEND_TESTS = [
    "tests/converters/amused_golden_test.py",
    "tests/layers",
    "tests/losses",
    "tests/metrics",
    "tests/models/clip_text_encoder_test.py",
    "tests/models/discriminator_test.py",
    "tests/models/masked_token_training_test.py",
    "tests/models/micro_batches_test.py",
    "tests/models/muse_base_test.py",
    "tests/models/muse_super_res_test.py",
    "tests/models/token_generation_test.py",
    "tests/models/uvit_base_test.py",
    "tests/models/vqgan_tokenizer_test.py",
    "tests/muse_test.py",
    "tests/ops",
    "tests/optimizers",
    "tests/samplers",
]
# What must work without TensorFlow: training on shards, and generating.
WITHOUT_TENSORFLOW = [
    "tests/data/token_shards_test.py",
    "tests/models/minilm_text_encoder_test.py",
    "tests/models/muse_base_test.py",
    "tests/muse_test.py",
]
BLOCK_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = sys.modules["tensorflow_text"] = None
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def run(arguments, backend):
    result = subprocess.run(
        [sys.executable, *arguments, "-q", "-p", "no:cacheprovider"],
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
        run(["-m", "pytest", *BACKEND_TESTS], backend)

    def test_without_tensorflow(self):
        run(["-c", BLOCK_TENSORFLOW, *WITHOUT_TENSORFLOW], "jax")
