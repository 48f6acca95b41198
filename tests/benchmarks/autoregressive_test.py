"""benchmarks/peers/autoregressive.py: what it draws is what its `call` says."""

import importlib
import pathlib

import numpy as np
from keras import ops

ROOT = pathlib.Path(__file__).parents[2]


def test_draws_from_its_logits(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks/peers")
    model = importlib.import_module("autoregressive").AutoregressiveBase(
        codebook_size=11,
        grid_size=(3, 4),
        text_dim=6,
        num_layers=2,
        hidden_dim=8,
        num_heads=2,
        intermediate_dim=16,
    )
    generator = np.random.default_rng(0)
    text = generator.normal(size=(3, 5, 6)).astype("float32")
    mask = np.arange(5) < np.array([[5], [3], [2]])

    def logits(token_ids, text_mask):
        return ops.convert_to_numpy(
            model(
                {
                    "token_ids": token_ids.reshape(3, 12),
                    "text_embeddings": text,
                    "text_mask": text_mask,
                }
            )
        )

    logits(np.zeros((3, 12), "int32"), mask)  # builds it
    for weight in model.weights:
        weight.assign(generator.normal(size=weight.shape))

    # Batches of two and one: the noise of a row is that of its seed.
    drawn = model.generate(
        text, mask, guidance_scale=2.0, seed=[5, 6, 7], batch_size=2
    )

    assert drawn.shape == (3, 3, 4)
    free = logits(drawn, np.zeros_like(mask))
    guided = free + 2 * (logits(drawn, mask) - free)
    noise = [
        np.random.default_rng(seed).gumbel(size=(12, 11)) for seed in (5, 6, 7)
    ]
    expected = np.argmax(guided + np.stack(noise), axis=-1)
    np.testing.assert_array_equal(drawn.reshape(3, 12), expected)
