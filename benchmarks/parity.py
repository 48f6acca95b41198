"""How near converted models are to their originals, at their real sizes.

The originals of aMUSEd are made by `diffusers` and `transformers` with random
weights (the published ones cannot be had everywhere), saved as published, read
by `from_preset`, and both are run on the same input. It takes 10 GiB of memory
and 6 GiB of disk. With `--source` it compares a copy of real weights.

    python benchmarks/parity.py
    python benchmarks/parity.py --source hf://amused/amused-256
"""

import argparse
import os
import tempfile

import diffusers
import torch
import transformers
from table import print_rows

import keras_muse
from keras_muse.converters import report

# What the settings of aMUSEd 256 and 512 differ in.
SIZES = {
    "256": {"sample_size": 16, "downsample": False, "upsample": False},
    "512": {"sample_size": 32, "downsample": True, "upsample": True},
}
CHANNELS = [128, 256, 256, 512, 768]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", help="directory or handle to compare")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.source:
        rows = compare(options.source, keras_muse.Muse.from_preset)
    else:
        rows = compare_random()
    print_rows(rows, options.json, "Converted models and their originals")


def compare_random():
    rows = []
    torch.manual_seed(0)
    makers = {
        **{f"aMUSEd {name} transformer": name for name in SIZES},
        "aMUSEd VQ model": None,
    }
    for title, name in makers.items():
        with tempfile.TemporaryDirectory() as directory:
            if name is None:
                make_tokenizer().save_pretrained(directory)
                load = keras_muse.VQGANTokenizer.from_preset
            else:
                make_transformer(name).save_pretrained(directory)
                load = keras_muse.UViTBase.from_preset
            rows += [
                {"model": title, **row} for row in compare(directory, load)
            ]
    return rows


def make_transformer(name):
    model = diffusers.UVit2DModel(**SIZES[name])
    for module in model.modules():
        if "GlobalResponseNorm" in type(module).__name__:  # 0 at the start
            torch.nn.init.normal_(module.gamma)
            torch.nn.init.normal_(module.beta)
    return model


def make_tokenizer():
    model = diffusers.VQModel(
        down_block_types=["DownEncoderBlock2D"] * len(CHANNELS),
        up_block_types=["UpDecoderBlock2D"] * len(CHANNELS),
        block_out_channels=CHANNELS,
        layers_per_block=2,
        latent_channels=64,
        num_vq_embeddings=8192,
        mid_block_add_attention=False,
        lookup_from_codebook=True,
    )
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return model


def compare(source, load):
    model = load(source)
    parts = {"": model}
    if isinstance(model, keras_muse.Muse):
        parts = {
            name: getattr(model, name)
            for name in ("text_encoder", "base", "image_tokenizer")
        }
    rows = report(source, parts)
    for row in rows:
        row["millions"] = round(row.pop("parameters") / 1e6, 1)
        row["versions"] = (
            f"diffusers {diffusers.__version__}, transformers "
            f"{transformers.__version__}, torch {torch.__version__}"
        )
    return rows


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "jax")
    main()
