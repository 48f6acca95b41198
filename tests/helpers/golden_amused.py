"""What diffusers' aMUSEd made of random weights, kept in a file.

It needs neither torch nor diffusers; `tests/golden/make_amused.py` does.
"""

import json
import os
import pathlib

import numpy as np
import safetensors.numpy

from tests.helpers.random_tensors import random_tensors

FILE = pathlib.Path(__file__).parents[1] / "golden" / "amused.npz"
NUM_STEPS, GUIDANCE_SCALE, SEEDS = 8, 4.0, [5, 6]


class GoldenAmused:
    """Inputs and outputs of a `UVit2DModel`, and its files.

    Attributes:
        token_ids: ids as ours are, of shape `(2, 8, 8)`.
        texts, negative_texts: embeddings of shape `(2, 6, 16)`, the vector of
            the whole text in front.
        logits: of `token_ids` and `texts`, `(2, 64, codebook_size)`.
        generated: tokens of the whole pipeline, `(2, 8, 8)`.
    """

    def __init__(self):
        with np.load(FILE) as golden:
            self.config = json.loads(str(golden["config"]))
            self.shapes = json.loads(str(golden["shapes"]))
            self.logits = golden["logits"]
            self.generated = golden["generated"]
        self.token_ids, self.texts, self.negative_texts = inputs()

    def save(self, directory):
        """Writes the model as diffusers does."""
        with open(os.path.join(directory, "config.json"), "w") as file:
            json.dump(self.config, file)
        safetensors.numpy.save_file(
            random_tensors(self.shapes),
            os.path.join(directory, "diffusion_pytorch_model.safetensors"),
        )


def inputs():
    generator = np.random.RandomState(0)
    token_ids = generator.randint(0, 65, (2, 8, 8))
    texts, negative_texts = generator.standard_normal((2, 2, 6, 16))
    return token_ids, texts.astype("float32"), negative_texts.astype("float32")
