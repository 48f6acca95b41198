"""Which quantizer makes better tokens: a learned codebook or a fixed grid.

Two tokenizers of one architecture, as many codes, the same drawings, batches
and steps: one with the codebook that follows its vectors (`VectorQuantizer`),
one with finite scalar quantization (`FSQ`). Then a small base learns the
tokens of each, with the same texts and for the same number of steps. Scores
are of drawings whose `split` is `test_pair`.

    python benchmarks/quantizers.py
    python benchmarks/quantizers.py --steps 50 --base-steps 50 --json

`usage` is the part of the codes that the held-out drawings take, `perplexity`
how many carry the load. Losses of bases over different tokens compare only
roughly: `below_uniform` is how far one lies below guessing, in nats.
"""

import argparse
import math
import time

import keras
import numpy as np
from table import print_rows

import keras_muse
from keras_muse import data
from keras_muse import metrics
from keras_muse.layers import FSQ
from keras_muse.losses import LPIPS

IMAGE_SIZE, BATCH_SIZE = 64, 32
STYLES = ("fluent 3d", "noto", "twemoji")
GROUPS = ("smileys & emotion", "animals & nature", "food & drink")
LEVELS = (8, 5, 5, 5)  # 1,000 codes
TOKENIZER = {
    "base_channels": 16,
    "channel_multipliers": (1, 2, 4),
    "num_res_blocks": 1,
    "num_groups": 8,
}
BASE = {
    "codebook_size": math.prod(LEVELS),
    "grid_size": (16, 16),
    "text_dim": 384,
    "num_layers": 3,
    "hidden_dim": 128,
    "num_heads": 4,
    "intermediate_dim": 512,
}
QUANTIZERS = {
    "VectorQuantizer": lambda: {
        "codebook_size": math.prod(LEVELS),
        "codebook_dim": 8,
        "normalize_codes": True,
    },
    "FSQ": lambda: {"quantizer": FSQ(LEVELS)},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--base-steps", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pictures = {split: load(split) for split in ("train", "test_pair")}
    texts = embed(pictures)
    rows = [
        compare(name, make, pictures, texts, options)
        for name, make in QUANTIZERS.items()
    ]
    print_rows(rows, options.json, "Quantizers")


def load(split):
    """Drawings and their captions."""
    pairs = data.load_emoji(
        image_size=IMAGE_SIZE,
        split=split,
        styles=STYLES,
        prompts="styled",
        shuffle=False,
    )
    kept = [i for i, row in enumerate(pairs.rows) if row["group"] in GROUPS]
    return pairs.select(kept).as_arrays()


def embed(pictures):
    encoder = keras_muse.MiniLMTextEncoder.from_preset("all_minilm_l6_v2")
    return {
        split: dict(
            zip(
                ("text_embeddings", "text_mask"),
                encoder.encode(captions),
                strict=True,
            )
        )
        for split, (_, captions) in pictures.items()
    }


def compare(name, make, pictures, texts, options):
    keras.utils.set_random_seed(options.seed)
    tokenizer = keras_muse.VQGANTokenizer(**TOKENIZER, **make())
    tokenizer.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(2e-3, options.steps),
            beta_2=0.99,
        ),
        reconstruction="l1",
        perceptual=LPIPS(min_size=32),
        perceptual_weight=0.25,
        adversarial_weight=0,
    )
    begin = time.perf_counter()
    train(tokenizer, pictures["train"][0], options.steps, options.seed)
    minutes = (time.perf_counter() - begin) / 60
    row = {
        "quantizer": name,
        "codes": tokenizer.codebook_size,
        "tokenizer_minutes": minutes,
        **reconstruction(tokenizer, pictures["test_pair"][0]),
    }
    tokens = {
        split: {"token_ids": tokenizer.encode(images), **texts[split]}
        for split, (images, _) in pictures.items()
    }
    row.update(base_losses(tokens, options))
    return row


class Batches(keras.utils.PyDataset):
    """The same batches for both, drawn anew from all rows in each step."""

    def __init__(self, arrays, steps, seed):
        super().__init__()
        self.arrays, self.steps, self.seed = arrays, steps, seed

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        num_rows = len(keras.tree.flatten(self.arrays)[0])
        rows = np.random.default_rng([self.seed, step]).integers(
            num_rows, size=BATCH_SIZE
        )
        return keras.tree.map_structure(lambda x: x[rows], self.arrays)


def train(model, arrays, steps, seed):
    batches = Batches(arrays, steps, seed)
    model.fit(batches, shuffle=False, verbose=0)


def reconstruction(tokenizer, images):
    ids = tokenizer.encode(images)
    restored = tokenizer.decode(ids)
    usage = metrics.CodebookUsage(tokenizer.codebook_size)
    perplexity = metrics.CodebookPerplexity(tokenizer.codebook_size)
    psnr, lpips = metrics.PSNR(), metrics.PerceptualDistance()
    for metric in (usage, perplexity):
        metric.update_state(ids)
    for metric in (psnr, lpips):
        metric.update_state(images, restored)
    return {
        "usage": float(usage.result()),
        "perplexity": float(perplexity.result()),
        "psnr_db": float(psnr.result()),
        "lpips": float(lpips.result()),
    }


def base_losses(tokens, options):
    keras.utils.set_random_seed(options.seed)
    base = keras_muse.MuseBase(**BASE)
    base.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(2e-3, options.base_steps),
            weight_decay=0.02,
            beta_2=0.99,
        )
    )
    train(base, tokens["train"], options.base_steps, options.seed)
    losses = {
        split: base.evaluate(rows, verbose=0, return_dict=True)["loss"]
        for split, rows in tokens.items()
    }
    return {
        "base_loss": losses["train"],
        "held_out_loss": losses["test_pair"],
        "below_uniform": math.log(base.codebook_size) - losses["test_pair"],
    }


if __name__ == "__main__":
    main()
