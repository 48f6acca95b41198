"""Trains `emoji_scorer`, which tells how well a drawing fits a text.

And, with `--image-network own`, one whose eyes are trained along from nothing,
for `keras-muse evaluate --second-scorer`: see `PictureTextScorer`.

Towers on frozen features, trained on the rows of the split `train`, without
skin tones; mirrored, moved and shrunk views of each drawing stand for what a
model may draw. Prints R-precision on true drawings: a scorer must know those
before it judges others.

    python benchmarks/assets/train_emoji_scorer.py --pictures emoji/ \\
        --output scorer
    python benchmarks/assets/train_emoji_scorer.py --output scorer
    python benchmarks/assets/train_emoji_scorer.py --image-network own \\
        --output second_scorer

`--pictures` is a folder of tars as `benchmarks/assets/build_emoji.py` makes
one; without it the bundled drawings of 64 pixels are taken.
"""

import argparse
import os
import pathlib
import sys

import h5py
import keras
import numpy as np
from PIL import Image
from train_muse_emoji import Views

from keras_muse import data
from keras_muse import metrics
from keras_muse.scorers.picture_text_scorer import PictureTextScorer

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from table import print_rows  # noqa: E402

BLUNT_FROM = 2
SPLITS = ("train", "test_pair", "test_concept")
# What each kind is trained with. Views of a drawing: as it is, and mirrored,
# moved, and from the third on made blunt.
SETTINGS = {
    "efficientnet_lite0": {
        "size": {},
        "image_size": 128,
        "num_views": 2,
        "epochs": 40,
        "batch_size": 512,
        "rate": 1e-3,
    },
    "own": {
        "size": {"hidden_dim": 256, "embedding_dim": 128},
        "image_size": 64,
        "num_views": 4,
        "epochs": 7,
        "batch_size": 256,
        "rate": 2e-3,
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", help="folder of tars")
    parser.add_argument("--output", required=True, help="for the preset")
    parser.add_argument(
        "--image-network", choices=SETTINGS, default="efficientnet_lite0"
    )
    parser.add_argument("--epochs", type=int, help="(what suits the network)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    settings = SETTINGS[options.image_network]
    scorer = PictureTextScorer(
        image_network=options.image_network, **settings["size"]
    )
    pairs = load(options, "train")
    x = features(scorer, Views(pairs, options.seed, settings["num_views"]))
    epochs = options.epochs or settings["epochs"]
    steps = epochs * (len(x["caption_ids"]) // settings["batch_size"])
    rate = keras.optimizers.schedules.CosineDecay(settings["rate"], steps)
    scorer.compile(keras.optimizers.AdamW(rate, weight_decay=0.05))
    scorer.fit(x, batch_size=settings["batch_size"], epochs=epochs, verbose=2)
    scorer.save_to_preset(options.output)
    if options.image_network == "own":
        halve_weights(f"{options.output}/model.weights.h5")
    rows = [
        {"split": split, **true_pictures(scorer, load(options, split))}
        for split in SPLITS
    ]
    print_rows(rows, options.json, "R-precision of true drawings")


def halve_weights(file):
    """Stores the numbers of a file in float16; they are read as before."""
    with h5py.File(file) as whole, h5py.File(f"{file}.half", "w") as half:

        def copy(name, node):
            target = half.require_group(name) if name else half
            if isinstance(node, h5py.Dataset):
                del half[name]
                half[name] = node[()].astype("float16")
                target = half[name]
            target.attrs.update(node.attrs)

        copy("", whole)
        whole.visititems(copy)
    os.replace(f"{file}.half", file)


def load(options, split):
    return data.load_emoji(
        options.pictures,
        image_size=SETTINGS[options.image_network]["image_size"],
        split=split,
        shuffle=False,
    )


def features(scorer, views):
    """What the towers take of each view with one of its captions."""
    images, texts = [], []
    for number, view in enumerate(views):
        is_blunt = number % views.num_views >= BLUNT_FROM
        images.append(
            blunted(view["image"], number) if is_blunt else view["image"]
        )
        texts.append(view["text"][:2])  # with the style, and without
    pictures = {"images": np.stack(images)}
    if scorer.image_network != "own":
        pictures = {"image_features": scorer.frozen.image_features(**pictures)}
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
        **pictures,
        "text_features": text_features[ids],
        "caption_ids": ids,
    }


def blunted(image, number):
    """As a decoder of few tokens leaves a picture: without its finest lines."""
    size = int(np.random.default_rng(number).integers(24, len(image)))
    picture = Image.fromarray(image)
    small = picture.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(small.resize(picture.size, Image.Resampling.BICUBIC))


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
