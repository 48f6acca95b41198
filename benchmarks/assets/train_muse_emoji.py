"""Trains `muse_emoji`, a whole Muse on captioned drawings.

Five stages, each started by its name, in this order; one that trains goes on
when it is started again, with the time that is left of `--minutes`. Once there
are tokens, `base` and `super_res` can run at the same time:

- `tokenizer`: a VQGAN that takes an eighth of each side, trained on patches
  of 128 pixels: half of them whole drawings, half parts of drawings at 256;
- `tokens`: every drawing as tokens of 128 and of 256 pixels, with `--views`
  also mirrored and moved; its captions, with tags, as the states of MiniLM;
- `base`: text to the 16 x 16 tokens of 128 pixels;
- `super_res`: text and those to the 32 x 32 tokens of 256 pixels;
- `preset`: puts them together as a `Muse`, matrices in 8 bits.

    python benchmarks/assets/train_muse_emoji.py --pictures emoji_256/ \\
        --output out --stage base --minutes 10 --dtype mixed_bfloat16

`--pictures` is a folder of tars as `benchmarks/assets/build_emoji.py full
--size 256` makes one. Only rows of the split `train` are trained on; the
curves in `out/curves.jsonl` have the losses on `test_pair` and `test_concept`
beside.

On one H200 in bfloat16, with 8 to 16 views, what is bundled took 2.4 minutes
of the tokenizer (1,920 steps of 192 patches; LPIPS of held-out drawings 0.039
at 128 pixels and 0.021 at 256), about 11 minutes of the base (10,720 steps of
256 rows; cross-entropy of a row on test_pair 3.36 after 9,040) and 5 of the
super-resolution model (3,400 steps of 64 rows; 2.0 in training). They shared
the GPU, and a program of the same steps kept tokens and texts in memory. A
processor takes a day for the same: give it a smaller `--batch-size`. The
bundled base was trained before arccos masks and the loss of visible tokens
(`FASTER`) were known to help: a training of today is expected to end lower.
"""

import argparse
import functools
import json
import os
import shutil
import time

import keras
import numpy as np
from matplotlib.figure import Figure

import keras_muse
from keras_muse import data
from keras_muse import training
from keras_muse.data.decoding import resize
from keras_muse.losses.lpips import LPIPS
from keras_muse.models.presets import compact_weights
from keras_muse.recipes.patches import Patches
from keras_muse.recipes.stages import FASTER

SMALL, LARGE = 128, 256  # pixels, out of the base and of the super-res model
STAGES = ("tokenizer", "tokens", "base", "super_res", "preset")
HELD_OUT = ("test_pair", "test_concept")

# A tokenizer with a light encoder: it turns every view of every drawing into
# tokens.
TOKENIZER = "vqgan_f8_small"
BASE, SUPER_RES = "muse_base_medium", "muse_super_res_small"
BATCH = {"tokenizer": 192, "base": 256, "super_res": 64}
RATE = {"tokenizer": 1.5e-3, "base": 1.2e-3, "super_res": 1.2e-3}
COMPACT_PARTS = ("base", "super_res", "image_tokenizer")
# What is drawn with: see benchmarks/results/muse_emoji.md.
DEFAULTS = {
    "num_steps": 16,
    "super_res_num_steps": 4,
    "guidance_scale": 2.0,
    "super_res_guidance_scale": 1.0,
    "sampler": keras_muse.ConfidenceSampler(temperature=0.5),
    "super_res_sampler": keras_muse.ConfidenceSampler(temperature=0.5),
}
# Up to this part of the low-resolution tokens is wrong in training, for the
# base errs, too.
WRONG_TOKENS = 0.15

# Drawings with skin tones have a fourth of the others' share: they are nearly
# half of the rows, and differ in little else.
TONE_SHARE = 4
# What must not be mirrored: writing, flags and what names a side.
NEVER_MIRRORED = ("symbols", "flags")
SIDES = ("left", "right", "clockwise")
NEVER_DECAYED = ("gamma", "beta", "bias", "positions", "codes", "embedding")
SAVE_EVERY = 120.0  # seconds between two saves, and two points of a curve
STEPS = 50  # of an epoch, after which a point may be due


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", help="folder of tars at 128 pixels")
    parser.add_argument("--output", required=True)
    parser.add_argument("--stage", choices=STAGES, required=True)
    parser.add_argument("--minutes", type=float, help="of a stage that trains")
    parser.add_argument(
        "--views", type=int, default=1, help="of each drawing, for `tokens`"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        help=f"default: {', '.join(f'{v} ({k})' for k, v in BATCH.items())}",
    )
    parser.add_argument("--dtype", default="float32", help="to train in")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keras.config.set_dtype_policy(options.dtype)
    keras.utils.set_random_seed(options.seed)
    os.makedirs(options.output, exist_ok=True)
    globals()[f"make_{options.stage}"](options)


def path(options, *names):
    return os.path.join(options.output, *names)


def load(options, split="train", **kwargs):
    return data.load_emoji(
        options.pictures,
        image_size=LARGE,
        split=split,
        shuffle=False,
        **{"skin_tones": split == "train", **kwargs},
    )


# === Tokenizer ===


def make_tokenizer(options):
    tokenizer = keras_muse.VQGANTokenizer.from_preset(
        TOKENIZER, load_weights=False
    )
    tokenizer.compile(
        keras.optimizers.Adam(beta_2=0.99),
        reconstruction="l1",
        perceptual=LPIPS(),
        perceptual_weight=0.5,
        adversarial_weight=0,
        commitment_weight=0.5,
        entropy_weight=0,
    )
    fit(options, tokenizer, patches(options), *held_out_pictures(options))
    tokenizer.save_to_preset(path(options, "tokenizer"))


def patches(options):
    """Pictures of the training rows, each thing about as often as another."""
    pairs = load(options)
    kept = [
        i
        for i, row in enumerate(pairs.rows)
        if "skin tone" not in row["text"] or i % TONE_SHARE == 0
    ]
    large, _ = pairs.select(kept).as_arrays()
    return Patches(
        smaller(large), large, batch_size(options), STEPS, options.seed
    )


def batch_size(options):
    return options.batch_size or BATCH[options.stage]


def held_out_pictures(options):
    # Whole pictures of the large size: what the tokenizer is for.
    for split in HELD_OUT:
        images, _ = load(options, split).as_arrays()
        yield split, images[:: max(1, len(images) // 128)][:128]


def smaller(images):
    return resize(images, (SMALL, SMALL))


# === Tokens ===


def make_tokens(options):
    tokenizer = keras_muse.VQGANTokenizer.from_preset(
        path(options, "tokenizer")
    )
    text_encoder = keras_muse.MiniLMTextEncoder.from_preset("all_minilm_l6_v2")
    for split in ("train", *HELD_OUT):
        pairs = load(options, split, prompts="both")
        data.write_token_shards(
            Views(pairs, options.seed, options.views)
            if split == "train"
            else pairs,
            path(options, "tokens", split),
            tokenizer,
            text_encoder,
            high_res_tokenizer=tokenizer,
            image_size=SMALL,
            high_res_image_size=LARGE,
            batch_size=64,
            overwrite=True,
        )


class Views:
    """Every drawing as it is, and a little smaller or larger and moved.

    The tokens of a moved drawing are others: so the models cannot learn a
    drawing by heart as one row of tokens. Where their time is short it is
    better spent on drawings as they are. A drawing at a time is moved, in all
    its views, on the device.
    """

    def __init__(self, pairs, seed, num_views):
        self.pairs, self.seed, self.num_views = pairs, seed, num_views

    def __iter__(self):
        rows = zip(self.pairs.iterate_rows(), self.pairs.rows, strict=True)
        for number, (pair, row) in enumerate(rows):
            rng = np.random.default_rng([self.seed, number])
            has_tone = "skin tone" in row["text"]
            numbers = [
                view
                for view in range(self.num_views)
                if not has_tone or (number + view) % TONE_SHARE == 0
            ]
            transforms = [
                random_move(rng, view, pair["image"].shape[1], may_mirror(row))
                for view in numbers
            ]
            for image in moved(pair["image"], transforms):
                yield {"image": image, "text": captions(row, rng)}


def may_mirror(row):
    return row["group"] not in NEVER_MIRRORED and not any(
        side in row["text"] for side in SIDES
    )


def random_move(rng, view, size, may_mirror):
    """Scaled by up to a tenth, and moved as far as white reaches, or a bit.

    Returns:
        Eight floats that say where each pixel comes from, as
        `keras.ops.image.affine_transform` takes them. The first view is the
        drawing as it is; odd ones are mirrored if that is allowed.
    """
    scale, shift = 1.0, np.zeros(2)
    if view > 0:
        scale = rng.uniform(0.86, 1.04)
        room = 0.5 * abs(1 - scale) + 0.02
        shift = rng.uniform(-room, room, 2) * size
    left, top = (size - 1) / 2 * (1 - 1 / scale) - shift / scale
    step = 1 / scale
    if view % 2 and may_mirror:
        left, step = left + (size - 1) * step, -step
    return [step, 0, left, 0, 1 / scale, top, 0, 0]


def moved(image, transforms):
    """A drawing by each of some transforms, on white, as uint8 arrays."""
    if not transforms:
        return []
    images = np.repeat(image[None].astype("float32"), len(transforms), axis=0)
    images = keras.ops.image.affine_transform(
        images,
        np.array(transforms, "float32"),
        fill_mode="constant",
        fill_value=255,
        data_format="channels_last",
    )
    images = keras.ops.clip(keras.ops.round(images), 0, 255)
    return keras.ops.convert_to_numpy(images).astype("uint8")


def captions(row, rng):
    """Names with the style and without, and words that people search by."""
    styled = f"{row['text']}, {row['style']} style"
    tags = list(rng.permutation(row.get("tags", [])))
    if not tags:
        return [styled, row["text"]]
    return [
        styled,
        row["text"],
        f"{row['text']}, {', '.join(tags[:3])}, {row['style']} style",
        f"{', '.join(tags[:4])}, {row['style']} style",
    ]


# === Transformers ===


def make_base(options):
    model = keras_muse.MuseBase.from_preset(BASE, load_weights=False)
    fit_transformer(options, model, **FASTER)


def make_super_res(options):
    model = keras_muse.MuseSuperRes.from_preset(SUPER_RES, load_weights=False)
    fit_transformer(options, model)


def fit_transformer(options, model, **arguments):
    optimizer = keras.optimizers.AdamW(
        weight_decay=0.05, beta_2=0.97, global_clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_names=NEVER_DECAYED)
    model.compile(optimizer, loss_average="tokens", **arguments)
    batches, *held_out = (
        data.read_token_shards(
            path(options, "tokens", split),
            batch_size(options),
            options.stage,
            seed=options.seed,
            shuffle=split == "train",
            steps_per_epoch=STEPS if split == "train" else None,
        )
        for split in ("train", *HELD_OUT)
    )
    if options.stage == "super_res":
        spoil = functools.partial(
            with_wrong_tokens, codebook_size=model.low_res_codebook_size
        )
        batches.stream = batches.stream.map(spoil)
    fit(options, model, batches, *zip(HELD_OUT, held_out, strict=True))
    model.save_to_preset(path(options, options.stage))


def with_wrong_tokens(batch, codebook_size):
    """A batch of which some low-resolution tokens are random codes."""
    token_ids = batch["low_res_token_ids"]
    rng = np.random.default_rng(token_ids.ravel())
    rates = rng.uniform(0, WRONG_TOKENS, len(token_ids))
    rates = rates.reshape(-1, *(1,) * (token_ids.ndim - 1))
    wrong = rng.integers(codebook_size, size=token_ids.shape)
    is_wrong = rng.random(token_ids.shape) < rates
    token_ids = np.where(is_wrong, wrong, token_ids).astype(token_ids.dtype)
    return {**batch, "low_res_token_ids": token_ids}


# === Training ===


def fit(options, model, batches, *held_out):
    """Trains for the minutes it is given, whatever was done before."""
    budget = training.TimeBudget(
        60 * options.minutes,
        path(options, "work", options.stage),
        RATE[options.stage],
        save_every=SAVE_EVERY,
    )
    if not budget.restore(model):
        # As many steps as were taken: the next batches, not the first again.
        batches.step = int(model.optimizer.iterations)
        curve = Curve(options, budget, held_out)
        model.fit(
            batches,
            epochs=10**6,
            verbose=0,
            callbacks=[budget, curve],
        )


class Curve(keras.callbacks.Callback):
    """Appends the losses to `curves.jsonl`, those of held-out rows too."""

    def __init__(self, options, budget, held_out):
        super().__init__()
        self.file = path(options, "curves.jsonl")
        self.stage, self.budget, self.held_out = options.stage, budget, held_out
        self.last = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        if time.monotonic() - self.last < SAVE_EVERY and (
            not self.model.stop_training
        ):
            return
        row = {
            "stage": self.stage,
            "minutes": round(self.budget.spent / 60, 2),
            "steps": int(self.model.optimizer.iterations),
            **{name: float(value) for name, value in (logs or {}).items()},
        }
        for split, batches in self.held_out:
            losses = self.model.evaluate(
                batches, batch_size=32, verbose=0, return_dict=True
            )
            row |= {f"{split}/{name}": float(x) for name, x in losses.items()}
        with open(self.file, "a") as file:
            file.write(json.dumps(row) + "\n")
        self.last = time.monotonic()


# === The preset ===


def make_preset(options):
    muse = keras_muse.Muse(
        keras_muse.MiniLMTextEncoder.from_preset("all_minilm_l6_v2"),
        keras_muse.MuseBase.from_preset(path(options, "base")),
        keras_muse.VQGANTokenizer.from_preset(path(options, "tokenizer")),
        keras_muse.MuseSuperRes.from_preset(path(options, "super_res")),
        generation_defaults=DEFAULTS,
    )
    preset = path(options, "preset")
    shutil.rmtree(preset, ignore_errors=True)
    muse.save_to_preset(preset)
    for part in COMPACT_PARTS:
        directory = os.path.join(preset, part)
        os.remove(os.path.join(directory, "model.weights.h5"))
        compact_weights.save(
            getattr(muse, part), os.path.join(directory, compact_weights.FILE)
        )
    for name, keys in (("muse.json", ()), ("config.json", ("config",))):
        rename_weights(os.path.join(preset, name), keys)
    draw_curves(options)


def rename_weights(file, keys):
    """Names the compact weights in the lists of files of a preset."""
    with open(file) as opened:
        contents = json.load(opened)
    parts = functools.reduce(dict.get, keys, contents)["parts"]
    for part in COMPACT_PARTS:
        names = parts[part]["files"]
        names[names.index("model.weights.h5")] = compact_weights.FILE
    with open(file, "w") as opened:
        json.dump(contents, opened, indent=2)


def draw_curves(options):
    """`curves.png`: the losses of all stages, of training and held-out rows."""
    with open(path(options, "curves.jsonl")) as file:
        rows = [json.loads(line) for line in file]
    stages = [s for s in STAGES if any(row["stage"] == s for row in rows)]
    figure = Figure(figsize=(4 * len(stages), 3.2), layout="constrained")
    for axes, stage in zip(
        figure.subplots(1, len(stages), squeeze=False)[0], stages, strict=True
    ):
        points = [row for row in rows if row["stage"] == stage]
        for label in ("train", *HELD_OUT):
            name = "loss" if label == "train" else f"{label}/loss"
            minutes = [row["minutes"] for row in points]
            axes.plot(minutes, [row[name] for row in points], label=label)
        axes.set(title=stage, xlabel="minutes", ylabel="loss")
        axes.legend()
    figure.savefig(path(options, "curves.png"), dpi=120)


if __name__ == "__main__":
    main()
