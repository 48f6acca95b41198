"""JAX, TensorFlow and Torch: the same weights and seeds, the same pictures."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers import tiny

ROOT = pathlib.Path(__file__).parent.parent

SCRIPT = """
import sys
import numpy as np
from tests.helpers import tiny

source, target = sys.argv[1:]
models = {
    "tokenizer": tiny.tiny_tokenizer(),
    "base": tiny.tiny_base(),
    "super_res": tiny.tiny_super_res(),
}
for name, model in models.items():
    if source:
        model.load_weights(f"{source}/{name}.weights.h5")
    model.save_weights(f"{target}/{name}.weights.h5")
tokenizer, base, super_res = models.values()

results = {}
images = tiny.tiny_images()
results["encoded"] = tokenizer.encode(images)
results["decoded"] = tokenizer.decode(results["encoded"])
text, negative = tiny.tiny_text(3), tiny.tiny_text(3, seed=4)
options = {
    **text,
    "negative_text_embeddings": negative["text_embeddings"],
    "negative_text_mask": negative["text_mask"],
    "seed": [3, 2**32 - 1, 2**31],
    "verbose": 0,
}
results["base_tokens"] = base.generate(num_steps=6, **options)
results["super_res_tokens"] = super_res.generate(
    low_res_token_ids=results["base_tokens"][:, :, ::2],
    num_steps=3,
    **options,
)
for name in ("base", "super_res"):
    model, data = models[name], tiny.tiny_data(models[name])
    results[f"{name}_logits"] = tiny.to_numpy(model(data))
    model.compile()
    outputs = model.loss_inputs(data, training=True)
    results[f"{name}_mask"] = tiny.to_numpy(outputs["mask"])
    logits = model.head(outputs["features"])
    results[f"{name}_training_logits"] = tiny.to_numpy(logits)
    outputs = model.loss_inputs(data, training=False)
    results[f"{name}_evaluation_mask"] = tiny.to_numpy(outputs["mask"])
    loss = model.compute_loss(y_pred=outputs)
    results[f"{name}_loss"] = tiny.to_numpy(loss)
np.savez(f"{target}/results.npz", **results)
"""


def run(backend, source, target):
    """Runs the script on a backend, with the weights that lie in `source`."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, source, str(target)],
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    with np.load(target / "results.npz") as results:
        return dict(results)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    directory = tmp_path_factory.mktemp("jax")
    return run("jax", "", directory), directory


def test_reference_is_no_trivial_one(reference):
    results, _ = reference
    assert len(np.unique(results["encoded"])) > 1
    assert len(np.unique(results["base_tokens"])) > 4
    assert results["base_logits"].std() > 0.3
    assert results["base_mask"].any() and not results["base_mask"].all()


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_backend_agrees_with_jax(reference, backend, tmp_path):
    expected, directory = reference
    actual = run(backend, str(directory), tmp_path)
    assert set(actual) == set(expected)
    for name in expected:
        if expected[name].dtype.kind in "ib":
            # Tokens and masks, bit for bit.
            np.testing.assert_array_equal(actual[name], expected[name], name)
        else:
            np.testing.assert_allclose(
                actual[name], expected[name], atol=1e-4, err_msg=name
            )
    # And its weights, saved there, can be loaded here.
    model = tiny.tiny_base(random_weights=False)
    model.load_weights(tmp_path / "base.weights.h5")
    logits = tiny.to_numpy(model(tiny.tiny_data(model)))
    np.testing.assert_allclose(logits, expected["base_logits"], atol=1e-4)
