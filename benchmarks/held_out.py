"""How well a Muse does on drawings that it was not trained on.

Takes a preset as `keras-muse quickstart` leaves it (two sizes, one tokenizer,
trained on the bundled emoji), and measures on the held-out splits:

- the tokenizer: PSNR and LPIPS of reconstructions, at both sizes;
- base and super-resolution model: cross-entropy and accuracy on masked
  tokens, against ln K of a guess at random; the same with the captions
  shuffled among the rows, and for the super-resolution model with its
  low-resolution tokens shuffled: the difference is what the model takes from
  them. Training rows are there to compare with.

    keras-muse quickstart --output out
    python benchmarks/held_out.py out/preset
    python benchmarks/held_out.py out/preset --rows 256 --json
"""

import argparse
import contextlib
import math
import sys

import keras
import numpy as np
from table import print_rows

import keras_muse
from keras_muse.data.decoding import resize
from keras_muse.data.emoji import SPLITS
from keras_muse.losses.lpips import LPIPS
from keras_muse.ops import images as image_ops
from keras_muse.recipes import quickstart

BATCH_SIZE = 32


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset")
    parser.add_argument("--rows", type=int, help="at most so many of a split")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # Messages and progress bars of the way there are no rows.
    with contextlib.redirect_stdout(sys.stderr):
        muse = keras_muse.Muse.from_preset(options.preset)
        pictures = {split: load_rows(split, options.rows) for split in SPLITS}
        reconstruction = [
            reconstruction_row(muse.image_tokenizer, images)
            for images in pictures["test_pair"][:2]
        ]
        prediction = [
            row
            for split, arrays in pictures.items()
            for row in prediction_rows(muse, split, *arrays)
        ]
    print_rows(reconstruction, options.json, "Reconstruction, test_pair")
    print_rows(prediction, options.json, "Prediction of masked tokens")


def load_rows(split, num_rows):
    """Pictures at both sizes and captions, evenly over a split."""
    pairs = quickstart.load_pictures(split)
    last = pairs.num_examples - 1
    num_rows = min(num_rows or last + 1, last + 1)
    pairs = pairs.select(np.linspace(0, last, num_rows).astype(int))
    large, texts = pairs.as_arrays()
    return large, resize(large, (quickstart.SMALL, quickstart.SMALL)), texts


def reconstruction_row(tokenizer, images):
    restored = tokenizer.decode(tokenizer.encode(images))
    error = image_ops.to_pixels(restored).astype("float32") - images
    mean_square = np.mean(error**2, axis=(1, 2, 3))
    lpips = LPIPS("alexnet")
    distances = [
        keras.ops.convert_to_numpy(
            lpips(
                image_ops.to_model_range(images[start : start + BATCH_SIZE]),
                restored[start : start + BATCH_SIZE],
            )
        )
        for start in range(0, len(images), BATCH_SIZE)
    ]
    return {
        "measure": "reconstruction",
        "split": "test_pair",
        "size": images.shape[1],
        "rows": len(images),
        "psnr_db": float(np.mean(10 * np.log10(255**2 / mean_square))),
        "lpips": float(np.mean(np.concatenate(distances))),
    }


def prediction_rows(muse, split, large, small, texts):
    embeddings, mask = muse.text_encoder.encode(texts)
    low = muse.image_tokenizer.encode(small)
    others = shuffled(len(texts))
    base = {
        "token_ids": low,
        "text_embeddings": embeddings,
        "text_mask": mask,
    }
    captions = {
        "text_embeddings": embeddings[others],
        "text_mask": mask[others],
    }
    yield prediction_row(muse.base, split, "as they are", base)
    yield prediction_row(
        muse.base, split, "captions shuffled", {**base, **captions}
    )
    if muse.super_res is None:
        return
    tokenizer = muse.high_res_image_tokenizer or muse.image_tokenizer
    fine = {
        **base,
        "token_ids": tokenizer.encode(large),
        "low_res_token_ids": low,
    }
    for variant, change in (
        ("as they are", {}),
        ("captions shuffled", captions),
        ("low-resolution tokens shuffled", {"low_res_token_ids": low[others]}),
    ):
        yield prediction_row(muse.super_res, split, variant, {**fine, **change})


def shuffled(num_rows):
    """A random order in which no row keeps its place."""
    cycle = np.random.default_rng(0).permutation(num_rows)
    others = np.empty(num_rows, int)
    others[cycle] = np.roll(cycle, 1)
    return others


def prediction_row(model, split, variant, inputs):
    if not model.compiled:
        model.compile("sgd")  # `evaluate` asks for it, and uses no optimizer
    scores = model.evaluate(
        inputs, batch_size=BATCH_SIZE, verbose=0, return_dict=True
    )
    return {
        "measure": "prediction",
        "model": type(model).__name__,
        "split": split,
        "inputs": variant,
        "rows": len(inputs["token_ids"]),
        "cross_entropy": float(scores["loss"]),
        "ln_codebook_size": math.log(model.codebook_size),
        "accuracy": float(scores["accuracy"]),
    }


if __name__ == "__main__":
    main()
