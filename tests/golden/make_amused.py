"""Makes `amused.npz`: what diffusers' aMUSEd makes of random weights.

    PYTHONPATH=. KERAS_BACKEND=jax python tests/golden/make_amused.py

It needs torch, diffusers and transformers.
"""

import json
import tempfile

import numpy as np
import pytest
import torch

from tests.helpers import golden_amused
from tests.helpers import tiny_amused
from tests.helpers.random_tensors import random_tensors


def main():
    with tempfile.TemporaryDirectory() as directory:
        pipeline = tiny_amused.save_pipeline(directory)
    model = pipeline.transformer
    shapes = {k: list(v.shape) for k, v in model.state_dict().items()}
    tensors = random_tensors(shapes)
    model.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()})
    token_ids, *texts = golden_amused.inputs()
    text, negative_text = map(torch.from_numpy, texts)
    masked = token_ids == tiny_amused.CODEBOOK_SIZE
    with torch.no_grad():
        logits = model(
            torch.tensor(
                np.where(masked, tiny_amused.VOCABULARY_SIZE - 1, token_ids)
            ),
            encoder_hidden_states=text[:, 1:],
            pooled_text_emb=text[:, 0],
            # Of the pipeline, whose tokens are 2 pixels wide.
            micro_conds=torch.tensor([[16.0, 16, 0, 0, 6]]).expand(2, -1),
        )
    monkeypatch = pytest.MonkeyPatch()
    generated = tiny_amused.their_tokens(
        pipeline,
        None,
        golden_amused.NUM_STEPS,
        golden_amused.SEEDS,
        monkeypatch,
        guidance_scale=golden_amused.GUIDANCE_SCALE,
        prompt_embeds=text[:, 0],
        encoder_hidden_states=text[:, 1:],
        negative_prompt_embeds=negative_text[:, 0],
        negative_encoder_hidden_states=negative_text[:, 1:],
    )
    config = {"_class_name": "UVit2DModel", **model.config}
    np.savez_compressed(
        golden_amused.FILE,
        config=json.dumps(config),
        shapes=json.dumps(shapes),
        logits=logits.flatten(2).permute(0, 2, 1).numpy(),
        generated=generated.astype("int32"),
    )


if __name__ == "__main__":
    main()
