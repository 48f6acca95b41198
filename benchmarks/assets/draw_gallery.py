"""Draws the gallery of `muse_emoji`, one labelled sheet.

Prompts of the training, combinations that nobody drew, drawings that were held
out, and edits of the model's own pictures. The prompts are fixed and picture
`i` of a row has the seed `i`: nothing was chosen from what came out.

    python benchmarks/assets/draw_gallery.py --output tutorials/muse_emoji.png
"""

import argparse

import numpy as np

import keras_muse
from keras_muse import data
from keras_muse.training import draw_sections

TRAINED = [
    "red apple, noto style",
    "pizza, fluent 3d style",
    "red heart, twemoji style",
    "sun with face, fluent flat style",
    "birthday cake, noto style",
    "cat face, emojione style",
    "snowman, fluent 3d style",
    "flag: Japan, twemoji style",
]
UNSEEN = [
    "green heart with sparkles, noto style",
    "blue apple, fluent 3d style",
    "red cat face, twemoji style",
    "yellow rose, noto style",
    "panda with sunglasses, fluent flat style",
    "black heart on fire, emojione style",
    "purple car, noto style",
    "smiling moon in the night, fluent 3d style",
]
NUM_HELD_OUT = 8  # of each held-out split, evenly over its rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="muse_emoji")
    parser.add_argument("--output", required=True, help="the PNG to write")
    options = parser.parse_args()
    muse = keras_muse.Muse.from_preset(options.preset)
    common = {"seed": 0, "verbose": 0}
    sections = [
        ("Trained on", muse.generate(TRAINED, **common), TRAINED),
        ("New combinations", muse.generate(UNSEEN, **common), UNSEEN),
    ]
    for split, title in (
        ("test_pair", "Held out: never seen in this style"),
        ("test_concept", "Held out: never seen at all"),
    ):
        texts = held_out(split).texts
        sections.append((title, muse.generate(texts, **common), texts))
    sections += edits(muse, common)
    draw_sections(sections, path=options.output)


def held_out(split):
    pairs = data.load_emoji(split=split, prompts="styled", shuffle=False)
    return pairs.select_evenly(NUM_HELD_OUT)


def edits(muse, common):
    """Four pictures of the model, with a part drawn anew or another prompt."""
    before = [
        "red apple, fluent 3d style",
        "grinning face, noto style",
        "dog face, noto style",
        "red heart, fluent flat style",
    ]
    after = [
        "green apple, fluent 3d style",
        "smiling face with sunglasses, noto style",
        "cat face, twemoji style",
        "blue heart, fluent flat style",
    ]
    images = muse.generate(before, **common)
    masks = np.zeros(images.shape[:3], "bool")
    masks[:, masks.shape[1] // 2 :] = True
    inpainted = muse.inpaint(images, masks, before, **{**common, "seed": 100})
    edited = muse.edit(images, after, guidance_scale=3.0, seed=0, verbose=0)
    return [
        (
            "Pictures, and their lower half drawn anew",
            in_turns(images, inpainted),
            in_turns(before, ["lower half anew"] * len(before)),
        ),
        (
            "Pictures, and edited by another prompt, without a mask",
            in_turns(images, edited),
            in_turns(before, after),
        ),
    ]


def in_turns(first, second):
    return [x for pair in zip(first, second, strict=True) for x in pair]


if __name__ == "__main__":
    main()
