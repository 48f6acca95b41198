"""Trains `emoji_scorer`, which tells how well a drawing fits a text.

Towers on frozen features, trained on the rows of the split `train`, without
skin tones; mirrored, moved and shrunk views of each drawing stand for what a
model may draw. Prints R-precision on true drawings: a scorer must know those
before it judges others.

    python benchmarks/assets/train_emoji_scorer.py --pictures emoji/ \\
        --output scorer
    python benchmarks/assets/train_emoji_scorer.py --output scorer

`--pictures` is a folder of tars as `benchmarks/assets/build_emoji.py` makes
one; without it the bundled drawings of 64 pixels are taken.
"""

import argparse
import pathlib
import sys

import keras
import numpy as np
from train_muse_emoji import Views

from keras_muse import data
from keras_muse import metrics
from keras_muse.scorers.picture_text_scorer import PictureTextScorer

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from table import print_rows  # noqa: E402

SPLITS = ("train", "test_pair", "test_concept")
NUM_VIEWS = 2  # of a drawing: as it is, and mirrored and moved
EPOCHS, BATCH_SIZE, RATE = 40, 512, 1e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", help="folder of tars")
    parser.add_argument("--output", required=True, help="for the preset")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    scorer = PictureTextScorer()
    pairs = load(options, "train")
    x = features(scorer, Views(pairs, options.seed, NUM_VIEWS))
    steps = EPOCHS * (len(x["caption_ids"]) // BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
    scorer.compile(keras.optimizers.AdamW(rate, weight_decay=0.05))
    scorer.fit(x, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=2)
    scorer.save_to_preset(options.output)
    rows = [
        {"split": split, **true_pictures(scorer, load(options, split))}
        for split in SPLITS
    ]
    print_rows(rows, options.json, "R-precision of true drawings")


def load(options, split):
    return data.load_emoji(
        options.pictures, image_size=128, split=split, shuffle=False
    )


def features(scorer, views):
    """The frozen networks' features of each view with each of its captions."""
    images, texts = [], []
    for view in views:
        images.append(view["image"])
        texts.append(view["text"])
    image_features = scorer.frozen.image_features(np.stack(images))
    captions = sorted({text for pair in texts for text in pair})
    number = {text: i for i, text in enumerate(captions)}
    text_features = scorer.frozen.text_features(captions)
    # Of each pair of captions, one with and one without the style, any one.
    chosen = np.random.default_rng(0).integers(2, size=len(texts))
    ids = np.array(
        [number[pair[i]] for pair, i in zip(texts, chosen, strict=True)],
        "int32",
    )
    return {
        "image_features": image_features,
        "text_features": text_features[ids],
        "caption_ids": ids,
    }


def true_pictures(scorer, pairs):
    images, texts = pairs.as_arrays()
    row = {"num_pictures": len(images)}
    for num_candidates in (10, 100):
        metric = metrics.RPrecision(scorer, num_candidates)
        metric.update_state(images, texts)
        row[f"1_of_{num_candidates}"] = metric.result()
    return row


if __name__ == "__main__":
    main()
