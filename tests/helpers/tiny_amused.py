"""A tiny aMUSEd with random weights, saved by `diffusers` as it saves it."""

import os

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AmusedPipeline
from diffusers.schedulers import scheduling_amused

from keras_muse.ops import noise
from tests.helpers import tiny_clip
from tests.helpers.tiny import to_numpy

CODEBOOK_SIZE = 64
VOCABULARY_SIZE = 72  # rounded up, as in the published models
SIDE = 8  # of the token grid


def save_transformer(directory, **changes):
    """A `UVit2DModel` in whose logits everything counts."""
    torch.manual_seed(1)
    model = diffusers.UVit2DModel(
        **{
            "hidden_size": 32,
            "cond_embed_dim": 16,
            "encoder_hidden_size": 16,
            "micro_cond_encode_dim": 8,
            "micro_cond_embed_dim": 40,
            "vocab_size": VOCABULARY_SIZE,
            "codebook_size": CODEBOOK_SIZE,
            "in_channels": 24,
            "block_out_channels": 24,
            "num_res_blocks": 2,
            "downsample": True,
            "upsample": True,
            "block_num_heads": 3,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "sample_size": SIDE,
            **changes,
        }
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(directory)
    return model


def save_pipeline(directory):
    """A whole `AmusedPipeline`, for pictures of 16 x 16."""
    text_encoder, tokenizer = (
        os.path.join(directory, name) for name in ("text_encoder", "tokenizer")
    )
    tiny_clip.save_model(text_encoder, max_position_embeddings=77)
    tiny_clip.save_tokenizer(tokenizer, model_max_length=77)
    torch.manual_seed(2)
    pipeline = AmusedPipeline(
        vqvae=diffusers.VQModel(
            down_block_types=2 * ["DownEncoderBlock2D"],
            up_block_types=2 * ["UpDecoderBlock2D"],
            block_out_channels=[8, 16],
            norm_num_groups=4,
            latent_channels=6,
            num_vq_embeddings=CODEBOOK_SIZE,
            mid_block_add_attention=False,
            lookup_from_codebook=True,
        ).eval(),
        tokenizer=transformers.CLIPTokenizer.from_pretrained(tokenizer),
        text_encoder=transformers.CLIPTextModelWithProjection.from_pretrained(
            text_encoder
        ).eval(),
        transformer=save_transformer(os.path.join(directory, "transformer")),
        scheduler=diffusers.AmusedScheduler(mask_token_id=VOCABULARY_SIZE - 1),
    )
    codes = pipeline.vqvae.quantize.embedding.weight
    torch.nn.init.normal_(codes)
    pipeline.save_pretrained(directory)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def their_tokens(pipeline, prompt, num_steps, seeds, monkeypatch, **kwargs):
    """Tokens of their pipeline, with our noise in the place of theirs.

    Args:
        pipeline: an `AmusedPipeline`.
        prompt: list of strings, or `None` if `kwargs` have embeddings.
        num_steps: int.
        seeds: list of ints, one per picture.
        monkeypatch: pytest's.
        **kwargs: other arguments of the pipeline.

    Returns:
        int array of shape `(batch, height, width)`.
    """
    step = {"index": 0}
    seeds = np.asarray(seeds, "int32")

    def multinomial(probabilities, num_samples, generator=None):
        num_positions = len(probabilities) // len(seeds)
        uniform = noise.code_uniform(
            seeds,
            noise.TOKEN_STREAM,
            step["index"],
            num_positions,
            probabilities.shape[-1],
        )
        gumbel = to_numpy(noise.gumbel(uniform)).reshape(probabilities.shape)
        return (probabilities.log() + torch.tensor(gumbel)).argmax(-1)[:, None]

    def gumbel_noise(x, generator=None):
        uniform = noise.uniform(
            seeds, noise.CHOICE_STREAM, step["index"], x.shape[1]
        )
        return torch.tensor(to_numpy(noise.gumbel(uniform)))

    def next_step(*args):
        step["index"] += 1

    monkeypatch.setattr(scheduling_amused.torch, "multinomial", multinomial)
    monkeypatch.setattr(scheduling_amused, "gumbel_noise", gumbel_noise)
    tokens = pipeline(
        prompt,
        num_inference_steps=num_steps,
        callback=next_step,
        output_type="latent",
        **kwargs,
    ).images
    monkeypatch.undo()
    return tokens.numpy()
