"""Other people's VQGANs on random weights: `golden/vqgans.npz`."""

import json
import pathlib

import numpy as np

from tests.helpers.random_tensors import random_tensors
from tests.helpers.tiny import to_numpy

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "vqgans.npz"


class GoldenVQGAN:
    """What the code of a source made of weights in its own layout."""

    def __init__(self, name):
        golden = np.load(GOLDEN)
        self.config = json.loads(str(golden[f"{name}/config"]))
        shapes = json.loads(str(golden[f"{name}/shapes"]))
        self.tensors = random_tensors(shapes)
        self.images = golden["images"]  # in [-1, 1]
        self.latents = golden[f"{name}/latents"]
        self.token_ids = golden[f"{name}/token_ids"]
        self.decoded = golden[f"{name}/decoded"]

    def check(self, tokenizer):
        """Both directions to 1e-4, and every token."""
        low, high = tokenizer.pixel_range
        pixels = low + (self.images + 1) * (high - low) / 2
        decoded = 2 * (self.decoded - low) / (high - low) - 1
        latents = to_numpy(tokenizer.encoder(pixels))
        np.testing.assert_allclose(latents, self.latents, atol=1e-4)
        token_ids = tokenizer.encode(self.images)
        np.testing.assert_array_equal(token_ids, self.token_ids)
        np.testing.assert_allclose(
            tokenizer.decode(token_ids), decoded, atol=1e-4
        )
        assert len(np.unique(token_ids)) > 5
