"""Muse's base beside what else could draw the same tokens.

Three transformers of the same size learn the same token shards, the same
batches in the same order, with the same optimizer and learning rates:

- `muse`: `MuseBase`, in the small configuration of the package;
- `autoregressive`: one token after another, as VQGAN's authors draw;
- `lucidrains`: the masked transformer of muse-maskgit-pytorch, trained and
  sampled as that package does it.

Then their losses under the same masks are measured, and each draws the prompts
of held-out rows, at 64 pixels through the same tokenizer, at a few guidance
scales. Beside them `nearest`, the training drawing whose caption is nearest in
MiniLM's space, and what bounds all of them: the true drawings, and the same
through the tokenizer.

    export KERAS_BACKEND=torch
    python benchmarks/baselines.py --output out --write-tokens emoji/
    for model in muse autoregressive lucidrains; do
        python benchmarks/baselines.py --output out --train $model
    done
    python benchmarks/baselines.py --output out

`out/tokenizer` is a tokenizer of 512 codes that takes an eighth of each side,
as the first bundled model had it; `emoji/` is a folder of tars as
`benchmarks/assets/build_emoji.py` makes one. With Torch, as one of the three
is made of it.
"""

import argparse
import json
import os
import time

import keras
import numpy as np
import torch
from assets import train_muse_emoji as muse_emoji
from peers.autoregressive import AutoregressiveBase
from peers.lucidrains import LucidrainsBase
from table import print_rows

import keras_muse
from keras_muse import data
from keras_muse import evaluation
from keras_muse import optimizers
from keras_muse import training
from keras_muse.evaluation.report import as_text
from keras_muse.evaluation.report import over_seeds
from keras_muse.evaluation.scores import Scores
from keras_muse.ops import images as image_ops
from keras_muse.recipes.stages import FASTER

MODELS = {
    "muse": keras_muse.MuseBase,
    "autoregressive": AutoregressiveBase,
    "lucidrains": LucidrainsBase,
}
SMALL = "muse_base_small"
IMAGE_SIZE = 64
SHAPE = {
    "codebook_size": 512,
    "grid_size": (8, 8),
    "text_dim": 384,
    "num_layers": 6,
    "hidden_dim": 256,
    "num_heads": 8,
    "intermediate_dim": 1024,
}
BATCH_SIZE, RATE = 64, 1e-3
SPLITS = muse_emoji.HELD_OUT
BESIDE = ("model", "shown", "true")  # what a row has that is no score
SHARES = (1.0, 0.75, 0.5, 0.25)  # of a row that is masked, for the losses
SCORES = (
    "kernel_distance",
    "frechet_distance",
    "perceptual_distance",
    "r_precision",
    "seconds_per_picture",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True)
    parser.add_argument(
        "--write-tokens", metavar="DIR", help="of the tars in this folder"
    )
    parser.add_argument("--train", choices=MODELS)
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=list(MODELS)
    )
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--prompts", type=int, default=200, help="of a split")
    parser.add_argument("--scales", type=float, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1000, 2000])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    if options.write_tokens:
        write_tokens(options)
    elif options.train:
        train(options)
    else:
        score(options)


# === Tokens ===


def write_tokens(options):
    tokenizer = keras_muse.VQGANTokenizer.from_preset(
        muse_emoji.path(options, "tokenizer")
    )
    encoder = keras_muse.MiniLMTextEncoder.from_preset("all_minilm_l6_v2")
    for split in ("train", *SPLITS):
        pairs = data.load_emoji(
            options.write_tokens,
            image_size=2 * IMAGE_SIZE,
            split=split,
            shuffle=False,
            skin_tones=split == "train",
            prompts="both",
        )
        data.write_token_shards(
            fewer_tones(pairs),
            muse_emoji.path(options, "tokens", split),
            tokenizer,
            encoder,
            image_size=IMAGE_SIZE,
            batch_size=64,
        )


def fewer_tones(pairs):
    """Drawings as they are, of those with skin tones a fourth."""
    rows = zip(pairs.iterate_rows(), pairs.rows, strict=True)
    for number, (pair, row) in enumerate(rows):
        if "skin tone" in row["text"] and number % muse_emoji.TONE_SHARE:
            continue
        yield {"image": pair["image"], "text": row["texts"]}


# === Training ===


def train(options):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = make(options.train)
    batches = data.read_token_shards(
        muse_emoji.path(options, "tokens", "train"),
        BATCH_SIZE,
        "base",
        seed=0,
        shuffle=True,
        steps_per_epoch=options.steps,
    )
    begin = time.perf_counter()
    if options.train == "lucidrains":
        for step, loss in lucidrains_steps(model, batches, options.steps):
            if step % 100 == 0:
                print(f"{step}: {loss:.3f}", flush=True)
    else:
        train_keras(model, batches, options.steps)
    about = {
        "model": options.train,
        "parameters": model.count_params(),
        "steps": options.steps,
        "minutes": (time.perf_counter() - begin) / 60,
    }
    save(options, options.train, model, about)
    print_rows([about], options.json, "Trained")


def make(name):
    if name == "muse":  # the small configuration, of these sizes
        return keras_muse.MuseBase.from_preset(SMALL, load_weights=False)
    return MODELS[name](**SHAPE)


def rate(steps, peak=RATE):
    warmup_steps = max(1, round(steps * training.TimeBudget.WARM_UP))
    return optimizers.warmup_cosine(peak, warmup_steps, steps)


def adamw(steps, peak=RATE):
    return keras.optimizers.AdamW(
        rate(steps, peak), weight_decay=0.05, beta_2=0.98, global_clipnorm=1.0
    )


def train_keras(model, batches, steps):
    optimizer = adamw(steps)
    if isinstance(model, AutoregressiveBase):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss)
        # Keras would permute the batches.
        model.fit(NextTokens(batches), shuffle=False, verbose=2)
    else:
        model.compile(optimizer, loss_average="tokens", **FASTER)
        model.fit(batches, verbose=2)


class NextTokens(keras.utils.PyDataset):
    """Batches with tokens as labels, and a tenth of the texts dropped."""

    def __init__(self, batches, text_drop=0.1):
        super().__init__()
        self.batches, self.text_drop = batches, text_drop

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        batch = self.batches[index]
        dropped = np.random.default_rng(index).random(BATCH_SIZE)
        kept = dropped[:, None] >= self.text_drop
        labels = batch["token_ids"]
        return {**batch, "text_mask": batch["text_mask"] & kept}, labels


def lucidrains_steps(model, batches, steps, peak=RATE):
    """Trains, and gives the number and the loss of each step after it."""
    parameters = list(model.maskgit.parameters())
    optimizer = torch.optim.AdamW(
        parameters, peak, betas=(0.9, 0.98), weight_decay=0.05
    )
    rates = rate(steps, peak)
    in_bfloat16 = "bfloat16" in keras.config.dtype_policy().name
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = float(rates(step))
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
            loss = model.loss(batches[step])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        yield step, loss.item()


def save(options, name, model, about):
    directory = muse_emoji.path(options, "baselines", name)
    os.makedirs(directory, exist_ok=True)
    if name == "lucidrains":
        model.maskgit.save(os.path.join(directory, "maskgit.pt"))
    else:
        model.optimizer = None
        model.save_weights(os.path.join(directory, "model.weights.h5"))
    with open(os.path.join(directory, "about.json"), "w") as file:
        json.dump(about, file)


def load(options, name):
    """The trained model of that name, and what is known of its training."""
    directory = muse_emoji.path(options, "baselines", name)
    model = make(name)
    if name == "lucidrains":
        model.maskgit.load(os.path.join(directory, "maskgit.pt"))
    else:
        batches = data.read_token_shards(
            muse_emoji.path(options, "tokens", SPLITS[0]), 1, "base"
        )
        model(batches[0])  # builds it
        model.load_weights(os.path.join(directory, "model.weights.h5"))
    with open(os.path.join(directory, "about.json")) as file:
        return model, json.load(file)


# === Scores ===


def score(options):
    protocol = evaluation.PROTOCOLS["emoji"]
    encoder = keras_muse.MiniLMTextEncoder.from_preset("all_minilm_l6_v2")
    tokenizer = keras_muse.VQGANTokenizer.from_preset(
        muse_emoji.path(options, "tokenizer")
    )
    models = {name: load(options, name) for name in options.models}
    painters = {
        name: keras_muse.Muse(encoder, model, tokenizer)
        for name, (model, _) in models.items()
    }
    if "muse" in painters:  # as the bundled model draws
        painters["muse"].generation_defaults = muse_emoji.DEFAULTS
    nearest = Nearest(encoder)
    print_rows([about for _, about in models.values()], options.json, "Models")
    print_rows(list(losses(options, models)), options.json, "Cross-entropy")
    for split in SPLITS:
        pairs = data.load_emoji(
            split=split, prompts="styled", shuffle=False
        ).select_evenly(options.prompts)
        rows = list(bounds(protocol, pairs, tokenizer, split))
        rows += [
            {"model": name, "split": split, **row}
            for name, painter in {"nearest": nearest, **painters}.items()
            for row in evaluation.evaluate(
                painter,
                pairs,
                protocol,
                guidance_scale=1 if name == "nearest" else options.scales,
                seed=options.seeds[:1] if name == "nearest" else options.seeds,
                batch_size=50,
            )
        ]
        print_rows(list(in_short(rows)), options.json, split)
        draw_sheet(options, split, rows)


def losses(options, models):
    """Cross-entropies, by what share of a row is masked; masks are the same.

    One token after another is a task of its own: its loss stands apart.
    """
    for split in ("train", *SPLITS):
        batches = data.read_token_shards(
            muse_emoji.path(options, "tokens", split),
            BATCH_SIZE,
            "base",
            seed=0,
            shuffle=True,
        )
        batches = [batches[i] for i in range(min(8, len(batches)))]
        for name, (model, _) in models.items():
            shares = ["in order"] if name == "autoregressive" else SHARES
            means = {
                str(share): float(
                    np.mean([loss(model, x, share) for x in batches])
                )
                for share in shares
            }
            yield {"split": split, "model": name, **means}


@torch.no_grad()
def loss(model, batch, share):
    token_ids = batch["token_ids"].reshape(len(batch["token_ids"]), -1)
    mask = np.ones(token_ids.shape, "bool")
    if share != "in order":
        order = np.argsort(np.random.default_rng(0).random(mask.shape), axis=-1)
        mask = order < round(share * mask.shape[1])
        masked = np.where(mask, model.codebook_size, token_ids)
        batch = {**batch, "token_ids": masked}
    logits = keras.ops.reshape(model(batch), (*mask.shape, -1))
    rows = keras_muse.losses.masked_cross_entropy(token_ids, logits, mask)
    return keras.ops.convert_to_numpy(rows).mean()


def draw_sheet(options, split, rows):
    """`baselines/SPLIT.png`: the same prompts, drawn by each model."""
    shown = [row for row in rows if row.get("seed") == options.seeds[0]]
    sections = [
        (
            f"{row['model']}, guidance {row['guidance_scale']:g}",
            row["shown"]["images"][::4],
            row["shown"]["texts"][::4] if row is shown[0] else None,
        )
        for row in shown
    ]
    path = muse_emoji.path(options, "baselines", f"{split}.png")
    training.draw_sections(sections, path=path)


def bounds(protocol, pairs, tokenizer, split):
    """Scores of the true drawings, and of the same through the tokenizer."""
    images, texts = pairs.as_arrays()
    restored = image_ops.to_pixels(tokenizer.decode(tokenizer.encode(images)))
    for name, drawn in (("true", images), ("true, as tokens", restored)):
        scores = Scores(protocol, pairs)
        scores.update(images, drawn, texts)
        yield {
            "model": name,
            "split": split,
            "guidance_scale": "",
            "num_steps": "",
            "num_pictures": len(images),
            **scores.results(),
        }


class Nearest:
    """Draws nothing: finds the training drawing of the nearest caption."""

    generation_defaults, super_res = {}, None

    def __init__(self, encoder):
        self.encoder = encoder
        self.pairs = data.load_emoji(prompts="styled", shuffle=False)
        self.keys = self._embed(self.pairs.texts)

    def _embed(self, texts):
        # MiniLM's sentence embedding is the mean of its states; they are zero
        # at padding, and the norm takes the number out.
        states, _ = self.encoder.encode(texts)
        means = states.sum(axis=1)
        return means / np.linalg.norm(means, axis=-1, keepdims=True)

    def generate(self, prompts, **options):
        found = np.argmax(self._embed(prompts) @ self.keys.T, axis=-1)
        images, _ = self.pairs.select(found.tolist()).as_arrays()
        return images


def in_short(rows):
    """A row a split, model and guidance scale: means and spreads over seeds."""
    for model in dict.fromkeys(row["model"] for row in rows):
        runs = [
            {k: v for k, v in row.items() if k not in BESIDE}
            for row in rows
            if row["model"] == model
        ]
        for mean in over_seeds(runs):
            yield {
                "split": mean["split"],
                "model": model,
                "guidance_scale": mean["guidance_scale"],
                **{name: as_text(mean, name) for name in SCORES},
                "pictures": mean["num_pictures"],
                "seeds": mean["num_seeds"],
            }


if __name__ == "__main__":
    main()
