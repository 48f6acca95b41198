"""Training on four devices gives what one device gives, on JAX."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
TRAIN = """
import contextlib, json, sys
import jax, keras, numpy as np
from tests import tiny

output, parallel = sys.argv[1], sys.argv[2] == "parallel"
assert jax.device_count() == 4
context = contextlib.nullcontext()
if parallel:
    context = keras.distribution.DataParallel().scope()
else:
    # Everything on the first device.
    jax.config.update("jax_default_device", jax.devices()[0])

class Losses(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.values = []
    def on_train_batch_end(self, batch, logs=None):
        self.values.append(float(logs["loss"]))

def num_devices(model):
    weight = model.trainable_variables[0].value
    return len(weight.sharding.device_set)

result, arrays = {}, {}
with context:
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.quantizer.revival_steps = 2
    tokenizer.compile(
        keras.optimizers.Adam(1e-4), perceptual=None, adversarial_weight=0
    )
    losses = Losses()
    images = tiny.tiny_images(48)
    tokenizer.fit(
        images, batch_size=8, shuffle=False, verbose=0, callbacks=[losses]
    )
    result["tokenizer"] = losses.values
    result["devices"] = num_devices(tokenizer)
    arrays["codebook"] = tiny.to_numpy(tokenizer.quantizer.codebook)
    arrays["idle_steps"] = tiny.to_numpy(tokenizer.quantizer.idle_steps)
    arrays["token_ids"] = tokenizer.encode(images[:8])

    base = tiny.tiny_base()
    base.compile(keras.optimizers.Adam(1e-3))
    losses = Losses()
    data = tiny.tiny_data(base, batch=16)
    base.fit(
        data, batch_size=8, epochs=2, shuffle=False, verbose=0,
        callbacks=[losses],
    )
    result["base"] = losses.values
    result["evaluate"] = base.evaluate(data, batch_size=8, verbose=0)
    arrays["generated"] = base.generate(
        **tiny.tiny_text(4), num_steps=3, seed=0, verbose=0
    )
np.savez(output, result=json.dumps(result), **arrays)
"""


def train(directory, mode):
    output = directory / f"{mode}.npz"
    subprocess.run(
        [sys.executable, "-c", TRAIN, str(output), mode],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        },
        cwd=ROOT,
        check=True,
    )
    with np.load(output) as arrays:
        return json.loads(str(arrays["result"])), dict(arrays)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("distribution")
    return train(directory, "single"), train(directory, "parallel")


def test_it_runs_on_four_devices(runs):
    (single, _), (parallel, _) = runs
    assert (single["devices"], parallel["devices"]) == (1, 4)


@pytest.mark.parametrize("model", ["tokenizer", "base"])
def test_losses_are_those_of_one_device(runs, model):
    (single, _), (parallel, _) = runs
    assert len(single[model]) == (6 if model == "tokenizer" else 4)
    np.testing.assert_allclose(parallel[model], single[model], rtol=1e-5)
    assert len(set(single[model])) > 1  # it did train


def test_evaluation_is_that_of_one_device(runs):
    (single, _), (parallel, _) = runs
    np.testing.assert_allclose(
        parallel["evaluate"], single["evaluate"], rtol=1e-5
    )


def test_all_devices_revive_the_same_codes(runs):
    """Codes idle for two steps are put on vectors of the whole batch."""
    (_, single), (_, parallel) = runs
    np.testing.assert_array_equal(parallel["idle_steps"], single["idle_steps"])
    np.testing.assert_allclose(
        parallel["codebook"], single["codebook"], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(parallel["token_ids"], single["token_ids"])


def test_generated_tokens_are_those_of_one_device(runs):
    (_, single), (_, parallel) = runs
    np.testing.assert_array_equal(parallel["generated"], single["generated"])
