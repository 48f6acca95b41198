"""How near a loaded model is to the one it was loaded from."""

import os

import numpy as np
from keras import ops

from keras_muse.converters import _torch
from keras_muse.converters import diffusers_vq
from keras_muse.files import hub
from keras_muse.models.presets import published
from keras_muse.models.text_encoders.clip_text_encoder import CLIPTextEncoder
from keras_muse.models.text_encoders.text_encoder import TextEncoder
from keras_muse.models.transformers.uvit_base import UViTBase
from keras_muse.runtime.compiled import compile_function

PROMPTS = ["a red apple", ""]
# Folders of the parts in a pipeline of `diffusers`.
FOLDERS = {
    "text_encoder": "text_encoder",
    "base": "transformer",
    "image_tokenizer": "vqvae",
}


def report(preset, parts):
    """Compares models with their originals, run by their own code.

    Args:
        preset: string. The directory or handle they were loaded from.
        parts: dict of models by the names of the parts of a `Muse`, or a
            single one by the name `""`.

    Returns:
        List of dicts, one a model: `"part"`, `"class"`, `"parameters"`,
        `"difference"`, the largest between their outputs, and
        `"scale"`, the standard deviation of what the original puts out; both
        are `None` where the package of the original is not installed or runs
        no such files.
    """
    rows = []
    for name, model in parts.items():
        folder = FOLDERS[name] if published.is_pipeline(preset) else ""
        config_file = os.path.join(folder, hub.CONFIG_FILE)
        theirs = None
        if hub.has_file(preset, config_file):
            config_file = hub.local_file(preset, config_file)
            ours, theirs = _outputs(model, os.path.dirname(config_file))
        rows.append(
            {
                "part": name,
                "class": type(model).__name__,
                "parameters": model.count_params(),
                "difference": None,
                "scale": None,
            }
        )
        if theirs is not None:
            difference = np.abs(ours - theirs).max()
            rows[-1]["difference"] = float(difference)
            rows[-1]["scale"] = float(theirs.std())
    return rows


def _outputs(model, directory):
    """What both make of the same: ours, and theirs or `None`."""
    if isinstance(model, TextEncoder):
        return _text_outputs(model, directory)
    if isinstance(model, UViTBase):
        return _logits(model, directory)
    return _images(model, directory)


def _text_outputs(model, directory):
    tokens = model.tokenize(PROMPTS)
    ids, mask = tokens["token_ids"], tokens["padding_mask"]
    ours, _ = model.encode(PROMPTS)
    if isinstance(model, CLIPTextEncoder):
        ids = np.where(mask, ids, model.padding_token_id)
        return ours, _torch.clip_embeddings(directory, ids)
    return ours, _torch.encoder_states(directory, ids, mask)


def _logits(model, directory):
    generator = np.random.default_rng(0)
    height, width = model.grid_size
    token_ids = generator.integers(
        0, model.codebook_size + 1, (1, height, width)
    )
    shape = (1, model.text_length, model.text_dim)
    texts = generator.standard_normal(shape).astype("float32")
    numbers = np.array([[16 * width, 16 * height, 0, 0, 6]], "float32")
    ours = compile_function(model, model.call_outputs)(
        {
            "token_ids": token_ids,
            "text_embeddings": texts,
            "text_mask": np.ones(shape[:2], "bool"),
            "micro_conditions": numbers,
        }
    )
    theirs = _torch.uvit_logits(directory, token_ids, texts, numbers)
    return ops.convert_to_numpy(ours), theirs


def _images(model, directory):
    generator = np.random.default_rng(0)
    token_ids = generator.integers(0, model.codebook_size, (1, 4, 4))
    ours = model.decode(token_ids)
    config = hub.read_json(directory)
    if not diffusers_vq.recognizes(config):  # LlamaGen's is no package
        return ours, None
    return ours, _torch.vq_images(directory, token_ids, model.pixel_range)
