"""Trains `muse_emoji`, a whole Muse on captioned drawings.

Six stages, each started by its name, in this order; one that trains goes on
when it is started again, with the time that is left of `--minutes`:

- `tokenizer`: a VQGAN that takes an eighth of each side, for pictures of 64
  and 128 pixels alike;
- `tokens`: every drawing as tokens, with `--views` also mirrored and moved;
  every caption as the states of MiniLM;
- `base`: text to the 8 x 8 tokens of 64 pixels;
- `super_res`: text and those to the 16 x 16 tokens of 128 pixels;
- `decoder`: a larger decoder of the same tokens, trained with a critic;
- `preset`: puts them together as a `Muse`.

    python benchmarks/assets/train_muse_emoji.py --pictures emoji/ \\
        --output out --stage tokenizer --minutes 40

`--pictures` is a folder of tars as `benchmarks/assets/build_emoji.py` makes
one, at 128 pixels. Only rows of the split `train` are trained on; the curves in
`out/curves.jsonl` have the losses on `test_pair` and `test_concept` beside.
"""

import argparse
import json
import os
import shutil
import time

import h5py
import keras
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from PIL import ImageOps

import keras_muse
from keras_muse import data
from keras_muse import training
from keras_muse.data.decoding import resize
from keras_muse.losses.lpips import LPIPS
from keras_muse.recipes.patches import Patches

SMALL, LARGE = 64, 128  # pixels, out of the base and of the super-res model
STAGES = ("tokenizer", "tokens", "base", "super_res", "decoder", "preset")
HELD_OUT = ("test_pair", "test_concept")

# A light encoder: it turns every view of every drawing into tokens.
TOKENIZER = {
    "base_channels": 16,
    "channel_multipliers": (1, 2, 4, 8),
    "num_res_blocks": 1,
    "codebook_size": 512,
    "codebook_dim": 8,
    "num_groups": 8,
}
DECODER = {"base_channels": 32, "num_res_blocks": 2}
TRANSFORMER = {
    "codebook_size": TOKENIZER["codebook_size"],
    "text_dim": 384,
    "num_heads": 8,
}
# As many weights as with MLPs of 1,024 without a gate; it learns faster.
BASE = {
    "num_layers": 6,
    "hidden_dim": 256,
    "intermediate_dim": 680,
    "use_gated_activation": True,
    "use_query_key_norm": True,
}
SUPER_RES = {
    "num_layers": 4,
    "low_res_num_layers": 2,
    "hidden_dim": 192,
    "intermediate_dim": 768,
    "block_size": 4,
}
BATCH = {"tokenizer": 32, "base": 64, "super_res": 32, "decoder": 16}
RATE = {"tokenizer": 1e-3, "base": 1e-3, "super_res": 1e-3, "decoder": 2e-4}

# Drawings with skin tones have a fourth of the others' share: they are nearly
# half of the rows, and differ in little else.
TONE_SHARE = 4
# What must not be mirrored: writing, flags and what names a side.
NEVER_MIRRORED = ("symbols", "flags")
SIDES = ("left", "right", "clockwise")
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


# === Tokenizer and decoder ===


def make_tokenizer(options):
    tokenizer = keras_muse.VQGANTokenizer(**TOKENIZER)
    tokenizer.compile(
        keras.optimizers.Adam(beta_2=0.99),
        reconstruction="l1",
        perceptual=LPIPS(),
        perceptual_weight=0.25,
        adversarial_weight=0,
        commitment_weight=0.5,
        entropy_weight=0,
    )
    fit(options, tokenizer, patches(options), *held_out_pictures(options))
    tokenizer.save_to_preset(path(options, "tokenizer"))


def make_decoder(options):
    tokenizer = keras_muse.VQGANTokenizer.from_preset(
        path(options, "tokenizer")
    ).finetune_decoder(**DECODER)
    tokenizer.compile(
        keras.optimizers.Adam(beta_1=0.5, beta_2=0.99),
        keras.optimizers.Adam(beta_1=0.5, beta_2=0.99),
        reconstruction="l1",
        perceptual=LPIPS(),
        perceptual_weight=0.5,
        adversarial_weight=0.05,
        adversarial_start=300,
        discriminator=keras_muse.Discriminator(32),
        entropy_weight=0,
    )
    fit(options, tokenizer, patches(options), *held_out_pictures(options))
    tokenizer.save_to_preset(path(options, "decoder"))


def patches(options):
    """Pictures of the training rows, each thing about as often as another."""
    pairs = load(options)
    kept = [
        i
        for i, row in enumerate(pairs.rows)
        if "skin tone" not in row["text"] or i % TONE_SHARE == 0
    ]
    large, _ = pairs.select(kept).as_arrays()
    batch_size = BATCH[options.stage]
    return Patches(smaller(large), large, batch_size, STEPS, options.seed)


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
    better spent on drawings as they are.
    """

    def __init__(self, pairs, seed, num_views):
        self.pairs, self.seed, self.num_views = pairs, seed, num_views

    def __iter__(self):
        rows = zip(self.pairs.iterate_rows(), self.pairs.rows, strict=True)
        for number, (pair, row) in enumerate(rows):
            generator = np.random.default_rng([self.seed, number])
            has_tone = "skin tone" in row["text"]
            may_mirror = row["group"] not in NEVER_MIRRORED and not any(
                side in row["text"] for side in SIDES
            )
            for view in range(self.num_views):
                if has_tone and (number + view) % TONE_SHARE:
                    continue
                image = Image.fromarray(pair["image"])
                if view > 0:
                    image = moved(image, generator)
                if view % 2 and may_mirror:
                    image = ImageOps.mirror(image)
                yield {"image": np.asarray(image), "text": row["texts"]}


def moved(image, generator):
    """Scaled by up to a tenth, and moved as far as white reaches, or a bit."""
    scale = generator.uniform(0.88, 1.04)
    room = 0.5 * abs(1 - scale) + 0.02
    shift = generator.uniform(-room, room, 2) * image.width
    # The transform asks where each pixel comes from.
    corner = image.width / 2 * (1 - 1 / scale) - shift / scale
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        (1 / scale, 0, corner[0], 0, 1 / scale, corner[1]),
        Image.Resampling.BICUBIC,
        fillcolor=(255, 255, 255),
    )


# === Transformers ===


def make_base(options):
    model = keras_muse.MuseBase(
        grid_size=grid_size(SMALL), **BASE, **TRANSFORMER
    )
    fit_transformer(options, model)


def make_super_res(options):
    model = keras_muse.MuseSuperRes(
        grid_size=grid_size(LARGE),
        low_res_grid_size=grid_size(SMALL),
        low_res_codebook_size=TOKENIZER["codebook_size"],
        **SUPER_RES,
        **TRANSFORMER,
    )
    fit_transformer(options, model)


def grid_size(image_size):
    factor = 2 ** (len(TOKENIZER["channel_multipliers"]) - 1)
    return image_size // factor, image_size // factor


def fit_transformer(options, model):
    model.compile(
        keras.optimizers.AdamW(
            weight_decay=0.05, beta_2=0.98, global_clipnorm=1.0
        )
    )
    batches, *held_out = (
        data.read_token_shards(
            path(options, "tokens", split),
            BATCH[options.stage],
            options.stage,
            seed=options.seed,
            shuffle=split == "train",
            steps_per_epoch=STEPS if split == "train" else None,
        )
        for split in ("train", *HELD_OUT)
    )
    fit(options, model, batches, *zip(HELD_OUT, held_out, strict=True))
    model.save_to_preset(path(options, options.stage))


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
    parts = {
        "base": keras_muse.MuseBase,
        "super_res": keras_muse.MuseSuperRes,
        "image_tokenizer": keras_muse.VQGANTokenizer,
        "high_res_image_tokenizer": keras_muse.VQGANTokenizer,
    }
    names = ("base", "super_res", "tokenizer", "decoder")
    muse = keras_muse.Muse(
        keras_muse.MiniLMTextEncoder.from_preset("all_minilm_l6_v2"),
        **{
            part: cls.from_preset(path(options, name))
            for (part, cls), name in zip(parts.items(), names, strict=True)
        },
    )
    shutil.rmtree(path(options, "preset"), ignore_errors=True)
    muse.save_to_preset(path(options, "preset"))
    for part in parts:
        halve_weights(path(options, "preset", part, "model.weights.h5"))
    draw_curves(options)


def halve_weights(file):
    """Stores the numbers of a weight file in float16; they are read as before.

    All but a tokenizer's codebook, which is known by its exact numbers.
    """
    with h5py.File(file) as whole, h5py.File(f"{file}.half", "w") as half:

        def copy(name, node):
            target = half.require_group(name) if name else half
            if isinstance(node, h5py.Dataset):
                del half[name]
                dtype = node.dtype if "quantizer" in name else "float16"
                half[name] = node[()].astype(dtype)
                target = half[name]
            target.attrs.update(node.attrs)

        copy("", whole)
        whole.visititems(copy)
    os.replace(f"{file}.half", file)


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
        # What a GAN's sum of losses says little of, LPIPS does.
        loss = "perceptual_loss" if stage == "decoder" else "loss"
        for label in ("train", *HELD_OUT):
            name = loss if label == "train" else f"{label}/{loss}"
            minutes = [row["minutes"] for row in points]
            axes.plot(minutes, [row[name] for row in points], label=label)
        axes.set(title=stage, xlabel="minutes", ylabel=loss)
        axes.legend()
    figure.savefig(path(options, "curves.png"), dpi=120)


if __name__ == "__main__":
    main()
