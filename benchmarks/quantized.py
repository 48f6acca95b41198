"""What int8 and int4 weights save, what they cost, and what they change.

One transformer in float32, bfloat16, int8 and int4: bytes of its weights,
seconds of a decoding step and of a whole picture. The precisions take turns,
so that a machine which is now quick, now slow, is so to all. With `--preset`,
also the held-out loss of that preset's base in each precision, on drawings
that it was not trained on.

    python benchmarks/quantized.py
    python benchmarks/quantized.py --preset out/preset --json
    python benchmarks/quantized.py --layers 2 --hidden 64 --steps 2

A step is that of one picture with guidance, in which two rows go through the
transformer; its time is the median of `--repeats`, after one that compiles.
Weights are random: they take the same time and memory as trained ones.
"""

import argparse
import contextlib
import sys
import time

import keras
import numpy as np
from held_out import load_rows
from held_out import prediction_row
from table import print_rows

import keras_muse

# Dtype and quantization mode of each row.
PRECISIONS = {
    "float32": ("float32", None),
    "bfloat16": ("bfloat16", None),
    "int8": ("float32", "int8"),
    "int8, bfloat16": ("bfloat16", "int8"),
    "int4": ("float32", "int4"),
    "int4, bfloat16": ("bfloat16", "int4"),
}
TEXT_LENGTH, TEXT_DIM = 64, 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", help="one of `keras-muse quickstart`")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):
        costs = cost_rows(options)
        add_ratios(costs, "megabytes", "seconds_a_step", "seconds_a_picture")
        losses = list(loss_rows(options.preset)) if options.preset else []
    title = f"{costs[0]['million_weights']:.0f} million weights"
    print_rows(costs, options.json, title)
    if losses:
        print_rows(losses, options.json, "Prediction of masked tokens")


def cost_rows(options):
    models = {name: make_model(options, name) for name in PRECISIONS}
    num_weights = models["float32"].count_params()
    times = {name: [] for name in models}
    for model in models.values():
        draw(model, 2)  # compiles
    for _ in range(options.repeats):
        for name, model in models.items():
            times[name].append(draw(model, options.steps))
    return [
        {
            "measure": "cost",
            "precision": name,
            "million_weights": num_weights / 1e6,
            "megabytes": weight_bytes(model) / 1e6,
            "seconds_a_step": float(np.median(np.diff(times[name]))),
            "seconds_a_picture": float(np.median(np.ptp(times[name], axis=1))),
        }
        for name, model in models.items()
    ]


def make_model(options, name):
    dtype, mode = PRECISIONS[name]
    keras.utils.set_random_seed(0)
    model = keras_muse.MuseBase(
        codebook_size=8192,
        grid_size=(16, 16),
        text_dim=TEXT_DIM,
        num_layers=options.layers,
        hidden_dim=options.hidden,
        num_heads=options.hidden // 64,
        intermediate_dim=4 * options.hidden,
        dtype=dtype,
    )
    if mode:
        model.quantize(mode)
    return model


def draw(model, num_steps):
    """Times at the start of a picture and after each of its steps."""
    embeddings = np.random.default_rng(0).normal(
        size=(1, TEXT_LENGTH, TEXT_DIM)
    )
    times = [time.perf_counter()]
    model.generate(
        embeddings.astype("float32"),
        np.ones((1, TEXT_LENGTH), bool),
        num_steps=num_steps,
        guidance_scale=3.0,
        seed=0,
        callback=lambda *_: times.append(time.perf_counter()),
        verbose=0,
    )
    return times


def weight_bytes(model):
    """Bytes of the weights, as the backend holds them."""
    return sum(
        keras.ops.convert_to_numpy(weight).nbytes for weight in model.weights
    )


def add_ratios(rows, *names):
    for name in names:
        first = rows[0][name]
        for row in rows:
            row[f"{name}_ratio"] = row[name] / first


def loss_rows(preset):
    for split in ("test_pair", "test_concept"):
        muse = keras_muse.Muse.from_preset(preset)
        _, small, texts = load_rows(split, None)
        embeddings, mask = muse.text_encoder.encode(texts)
        inputs = {
            "token_ids": muse.image_tokenizer.encode(small),
            "text_embeddings": embeddings,
            "text_mask": mask,
        }
        for name, (dtype, mode) in PRECISIONS.items():
            base = keras_muse.MuseBase.from_preset(preset, dtype=dtype)
            if mode:
                base.quantize(mode)
            row = prediction_row(base, split, "as they are", inputs)
            yield {
                "precision": name,
                **row,
                "megabytes": weight_bytes(base) / 1e6,
            }


if __name__ == "__main__":
    main()
