"""A small random CLIP text tower of `transformers`, in its own files."""

import json
import os

import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

LENGTH = 40
MERGES = ["r e", "re d</w>", "a p", "ap p", "c a", "ca t</w>"]
TEXTS = [
    "a red cat",
    "",
    "Red  APPLE, don't! 42 café 🍎 日本",
    "cat <|endoftext|> red",
    " ".join(["cat red"] * 100),
]


def pieces():
    """Bytes, bytes that end a word, merges, and the two special pieces."""
    letters = sorted(ByteLevel.alphabet())
    return [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *(merge.replace(" ", "") for merge in MERGES),
        "<|startoftext|>",
        "<|endoftext|>",
    ]


def save_tokenizer(directory, **settings):
    """`vocab.json`, `merges.txt` and `tokenizer_config.json`."""
    os.makedirs(directory, exist_ok=True)
    settings = {"tokenizer_class": "CLIPTokenizer", **settings}
    contents = {
        "vocab.json": json.dumps({p: i for i, p in enumerate(pieces())}),
        "merges.txt": "\n".join(["#version: 0.2", *MERGES]) + "\n",
        "tokenizer_config.json": json.dumps(
            {"model_max_length": LENGTH, **settings}
        ),
    }
    for name, text in contents.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            file.write(text)


def text_config(**settings):
    size = len(pieces())
    return {
        "vocab_size": size,
        "hidden_size": 16,
        "intermediate_size": 24,
        "projection_dim": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": LENGTH,
        "bos_token_id": size - 2,
        "eos_token_id": size - 1,
        "initializer_factor": 6.0,
        **settings,
    }


def shake(model):
    """Norms and biases that are not 1 and 0."""
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(parameter, mean=0.5, std=0.5)


def save_model(directory, **settings):
    """Saves and returns a `CLIPTextModelWithProjection`."""
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(**text_config(**settings))
    model = transformers.CLIPTextModelWithProjection(config).eval()
    shake(model)
    model.save_pretrained(directory)
    return model


def reference_ids(directory, texts):
    """What the tokenizer of a pipeline gives to the model."""
    tokenizer = transformers.CLIPTokenizer.from_pretrained(directory)
    return tokenizer(
        texts,
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    ).input_ids


def reference_embeddings(model, token_ids):
    """The prompt's vector, then the states before the last layer."""
    with torch.no_grad():
        outputs = model(token_ids, output_hidden_states=True)
    pooled = outputs.text_embeds[:, None]
    return torch.cat([pooled, outputs.hidden_states[-2]], dim=1).numpy()
