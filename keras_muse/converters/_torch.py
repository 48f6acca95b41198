"""The models of others at work, on PyTorch.

A function that runs another's model takes a local directory and what ours was
given, and returns what theirs makes of it as a numpy array; or `None` where
their package is missing.
"""

import importlib

import numpy as np


def _package(name):
    try:
        importlib.import_module("torch")
        return importlib.import_module(name)
    except ImportError:
        return None


def uvit_logits(directory, token_ids, text_embeddings, micro_conditions):
    """Logits of a `UVit2DModel`, float32 `(batch, num_tokens, codes)`."""
    diffusers = _package("diffusers")
    if diffusers is None:
        return None
    import torch

    model = diffusers.UVit2DModel.from_pretrained(
        directory, low_cpu_mem_usage=False
    )
    token_ids = np.where(
        token_ids == model.config.codebook_size,
        model.config.vocab_size - 1,
        token_ids,
    )
    with torch.no_grad():
        logits = model(
            torch.tensor(token_ids, dtype=torch.long),
            encoder_hidden_states=torch.tensor(text_embeddings[:, 1:]),
            pooled_text_emb=torch.tensor(text_embeddings[:, 0]),
            micro_conds=torch.tensor(micro_conditions),
        )
    return logits.flatten(2).permute(0, 2, 1).numpy()


def vq_images(directory, token_ids, image_range):
    """Pictures that a `VQModel` decodes, float32 near [-1, 1]."""
    diffusers = _package("diffusers")
    if diffusers is None:
        return None
    import torch

    model = diffusers.VQModel.from_pretrained(
        directory, low_cpu_mem_usage=False
    )
    with torch.no_grad():
        codes = model.quantize.embedding(torch.tensor(token_ids).long())
        codes = codes.permute(0, 3, 1, 2)
        images = model.decoder(model.post_quant_conv(codes))
    low, high = image_range
    images = (images.permute(0, 2, 3, 1).numpy() - low) / (high - low)
    return 2 * images - 1


def clip_embeddings(directory, token_ids):
    """What a `CLIPTextModelWithProjection` makes of token ids."""
    transformers = _package("transformers")
    if transformers is None:
        return None
    import torch

    model = transformers.CLIPTextModelWithProjection.from_pretrained(directory)
    with torch.no_grad():
        outputs = model(
            torch.tensor(token_ids).long(), output_hidden_states=True
        )
    pooled = outputs.text_embeds[:, None]
    return torch.cat([pooled, outputs.hidden_states[-2]], dim=1).numpy()


def encoder_states(directory, token_ids, mask):
    """Last states of a T5 encoder or a BERT, zero at padding."""
    transformers = _package("transformers")
    if transformers is None:
        return None
    import torch

    config = transformers.AutoConfig.from_pretrained(directory)
    is_t5 = config.model_type == "t5"
    cls = transformers.T5EncoderModel if is_t5 else transformers.AutoModel
    with torch.no_grad():
        outputs = cls.from_pretrained(directory)(
            torch.tensor(token_ids).long(),
            attention_mask=torch.tensor(mask).long(),
        )
    return outputs.last_hidden_state.numpy() * mask[..., None]
