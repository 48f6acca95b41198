"""LoRA on a drawing style that a preset has never seen, and on four pictures.

Takes a preset as `keras-muse quickstart` leaves it and the bundled drawings in
the style `--style`. The base learns the style, for the same number of steps:
by LoRA of two ranks in the attention, by LoRA in all layers, and by training
all weights. Held-out rows are the drawings of that style in both test splits:
things that were never seen in this style, or never at all.

Then the recipe of StyleDrop: an addition learned from `--few` pictures and
their prompts alone, many views of them; then a second round that also learns
from samples of the first. The first model chooses them itself, by its loss
under their prompts: there are no people here to do it.

    keras-muse quickstart --output out
    python benchmarks/lora_style.py out/preset --pictures lora_style.png
    python benchmarks/lora_style.py out/preset --steps 50 --json
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time

import keras
import numpy as np
from held_out import prediction_row
from table import print_rows

import keras_muse
from keras_muse import data
from keras_muse.data.decoding import resize
from keras_muse.recipes.drawings import SAMPLER
from keras_muse.recipes.quickstart import GROUPS
from keras_muse.recipes.quickstart import SMALL
from keras_muse.training import draw_sections

BATCH_SIZE = 32
CURVE_POINTS = 5  # how often the held-out loss is taken on the way
HELD_OUT = ("test_pair", "test_concept")
ALL_LAYERS = (
    "query",
    "key",
    "value",
    "attention_output",
    "intermediate_dense",
    "output_dense",
    "head_dense",
    "head_logits",
)
# Rank, layers and learning rate of each way to train.
WAYS = {
    "LoRA, rank 4, query and value": (4, ("query", "value"), 3e-3),
    "LoRA, rank 16, query and value": (16, ("query", "value"), 3e-3),
    "LoRA, rank 16, all layers": (16, ALL_LAYERS, 3e-3),
    "all weights": (None, (), 5e-4),
}
PROMPTS = ("red apple", "cat face", "smiling face", "tree", "pizza", "whale")
SHIFTS = (-2, -1, 0, 1, 2)  # pixels


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset")
    parser.add_argument("--style", default="fluent flat")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--few", type=int, default=4)
    parser.add_argument("--few-steps", type=int, default=100)
    parser.add_argument("--pictures", help="where the PNG of samples goes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # Messages and progress bars of the way there are no rows.
    with contextlib.redirect_stdout(sys.stderr):
        rows, sections = style_rows(options)
        more_rows, more_sections = few_rows(options)
        if options.pictures:
            draw_sections(sections + more_sections, path=options.pictures)
    title = f"{options.style}, {options.steps} steps of {BATCH_SIZE}"
    print_rows(rows, options.json, title)
    title = f"From {options.few} pictures, {options.few_steps} steps"
    print_rows(more_rows, options.json, title)


def load_rows(style, *splits):
    """Pictures of a style, uint8, and their prompts."""
    parts = [load_split(style, split) for split in splits]
    images, texts = zip(*parts, strict=True)
    return np.concatenate(images), [text for part in texts for text in part]


def load_split(style, split):
    pairs = data.load_emoji(
        image_size=2 * SMALL,
        styles=[style],
        split=split,
        prompts="styled",
        shuffle=False,
    )
    kept = [i for i, row in enumerate(pairs.rows) if row["group"] in GROUPS]
    pairs = pairs.select(kept)
    images, _ = pairs.as_arrays()
    return resize(images, (SMALL, SMALL)), pairs.texts


def tokenize(muse, images, texts):
    """What `fit` of the base takes."""
    embeddings, mask = muse.text_encoder.encode(texts)
    return {
        "token_ids": muse.image_tokenizer.encode(images),
        "text_embeddings": embeddings,
        "text_mask": mask,
    }


def fresh_muse(preset):
    """The preset without its super-resolution model: pictures of the base."""
    muse = keras_muse.Muse.from_preset(preset)
    return keras_muse.Muse(muse.text_encoder, muse.base, muse.image_tokenizer)


# === Many pictures of a style ===


def style_rows(options):
    muse = fresh_muse(options.preset)
    train = tokenize(muse, *load_rows(options.style, "train"))
    held_out = tokenize(muse, *load_rows(options.style, *HELD_OUT))
    rows = [{"way": "frozen", **score(muse.base, held_out)}]
    sections = [draw(muse, options.style, "frozen")]
    for name, (rank, layers, learning_rate) in WAYS.items():
        muse = fresh_muse(options.preset)
        if rank:
            muse.base.enable_lora(rank, layers)
        row = {"way": name, "rows": len(train["token_ids"])}
        row |= fit(muse.base, train, options.steps, learning_rate, held_out)
        row |= score(muse.base, held_out)
        rows.append(row)
        sections.append(draw(muse, options.style, name))
    return rows, sections


def fit(base, inputs, num_steps, learning_rate, held_out=None):
    """Trains for a number of steps; what it trained, and how fast."""
    schedule = keras_muse.optimizers.warmup_cosine(
        learning_rate, 1 + num_steps // 20, num_steps
    )
    base.compile(keras.optimizers.AdamW(schedule, weight_decay=0.01))
    clock = Clock()
    history = base.fit(
        Batches(inputs, num_steps // CURVE_POINTS),
        epochs=CURVE_POINTS,
        validation_data=held_out,
        verbose=0,
        callbacks=[clock],
    ).history
    row = {
        "trainable_weights": sum(w.value.size for w in base.trainable_weights)
    }
    if "lora_kernel_a" in {w.name for w in base.trainable_weights}:
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "style.lora.h5")
            base.save_lora_weights(path)
            row["kilobytes_of_file"] = os.path.getsize(path) / 1e3
    row["seconds_a_step"] = clock.seconds_a_step()
    if held_out is not None:
        row["curve"] = " ".join(f"{x:.2f}" for x in history["val_loss"])
    return row


class Batches(keras.utils.PyDataset):
    """So many batches of random rows."""

    def __init__(self, inputs, num_steps):
        super().__init__()
        self.inputs, self.num_steps = inputs, num_steps
        self.epoch = 0

    def __len__(self):
        return self.num_steps

    def __getitem__(self, index):
        num_rows = len(self.inputs["token_ids"])
        rng = np.random.default_rng([self.epoch, index])
        rows = rng.integers(num_rows, size=BATCH_SIZE)
        return {name: value[rows] for name, value in self.inputs.items()}

    def on_epoch_end(self):
        self.epoch += 1


class Clock(keras.callbacks.Callback):
    """Median time of a step."""

    def on_train_begin(self, logs=None):
        self.times = []

    def on_train_batch_end(self, batch, logs=None):
        self.times.append(time.perf_counter())

    def seconds_a_step(self):
        return float(np.median(np.diff(self.times)))


def score(base, held_out):
    row = prediction_row(base, "held out", "as they are", held_out)
    return {
        "held_out_rows": row["rows"],
        "held_out_loss": row["cross_entropy"],
        "held_out_accuracy": row["accuracy"],
    }


def draw(muse, style, title):
    prompts = [f"{thing}, {style} style" for thing in PROMPTS]
    images = muse.generate(
        prompts, seed=0, guidance_scale=2.0, sampler=SAMPLER, verbose=0
    )
    return title, images, prompts


# === A few pictures: StyleDrop ===


def few_rows(options):
    images, texts = load_rows(options.style, "train")
    chosen = np.linspace(0, len(images) - 1, options.few).astype(int)
    images, texts = images[chosen], [texts[i] for i in chosen]
    sections = [("what the recipe was shown", images, texts)]
    muse = fresh_muse(options.preset)
    held_out = tokenize(muse, *load_rows(options.style, *HELD_OUT))
    rows = [{"round": "frozen", **score(muse.base, held_out)}]

    shown, captions = views(images, texts)
    first = learn(options, shown, captions)
    rows.append({"round": "first", **score(first.base, held_out)})
    sections.append(draw(first, options.style, "first round"))

    samples, prompts = own_samples(first, options.style)
    sections.append(("samples that it chose", samples, prompts))
    more, more_captions = views(samples, prompts)
    second = learn(
        options, np.concatenate([shown, more]), captions + more_captions
    )
    rows.append({"round": "second", **score(second.base, held_out)})
    sections.append(draw(second, options.style, "second round"))
    return rows, sections


def views(images, texts):
    """Each picture a little shifted, and mirrored, on its white ground."""
    pad = max(SHIFTS)
    room = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="edge")
    many = []
    for y in SHIFTS:
        for x in SHIFTS:
            cut = room[:, pad + y :, pad + x :][:, :SMALL, :SMALL]
            many += [cut, cut[:, :, ::-1]]
    return np.concatenate(many), texts * len(many)


def learn(options, images, texts):
    """A fresh addition, learned from these pictures alone."""
    muse = fresh_muse(options.preset)
    muse.base.enable_lora(4)
    inputs = tokenize(muse, images, texts)
    fit(muse.base, inputs, options.few_steps, learning_rate=3e-3)
    return muse


def own_samples(muse, style, candidates=8):
    """What a model draws best of each prompt, by its own loss under it."""
    prompts = [f"{thing}, {style} style" for thing in PROMPTS]
    images = muse.generate(
        prompts,
        num_images_per_prompt=candidates,
        seed=100,
        guidance_scale=2.0,
        sampler=SAMPLER,
        verbose=0,
    )
    inputs = tokenize(muse, images, np.repeat(prompts, candidates).tolist())
    losses = [
        score(muse.base, {name: x[i : i + 1] for name, x in inputs.items()})
        for i in range(len(images))
    ]
    losses = [loss["held_out_loss"] for loss in losses]
    best = np.argmin(np.reshape(losses, (-1, candidates)), axis=1)
    return images[best + candidates * np.arange(len(prompts))], prompts


if __name__ == "__main__":
    main()
