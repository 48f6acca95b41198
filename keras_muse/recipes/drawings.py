"""Sheets of what a model draws, on the way and at the end."""

import keras
import numpy as np

from keras_muse.muse import parameters
from keras_muse.muse.draw_options import DrawOptions
from keras_muse.ops.images import to_pixels
from keras_muse.samplers.confidence_sampler import ConfidenceSampler
from keras_muse.training.sheets import draw_sections

NUM_ON_THE_WAY, NUM_AT_THE_END = 8, 16
NUM_SCORED = 64  # pictures that are drawn and scored, if there is time
# A model of so few steps is unsure of much: draw what it is surest of.
SAMPLER = ConfidenceSampler(temperature=0.5)
GENERATION_DEFAULTS = {
    "guidance_scale": 2.0,
    "sampler": SAMPLER,
    "super_res_sampler": SAMPLER,
}


class SheetsOnTheWay(keras.callbacks.Callback):
    """Draws sheets during a training, a few of them, evenly in its time.

    Args:
        muse: a `Muse` of the model that is trained.
        collection: a `Collection`.
        image_size: int. Pixels a side.
        budget: the `TimeBudget` of the training.
        path: string. Where the newest sheet goes.
        seed: int. Seed of the pictures.
        num_sheets: int.
    """

    def __init__(
        self, muse, collection, image_size, budget, path, seed, num_sheets=4
    ):
        super().__init__()
        self.muse, self.budget, self.path = muse, budget, path
        pairs = collection.shown.select_evenly(NUM_ON_THE_WAY)
        self.pairs = pairs.resized(image_size)
        self.seed, self.num_sheets = seed, num_sheets

    def on_train_begin(self, logs=None):
        self._num_drawn = self._num_due()

    def on_epoch_end(self, epoch, logs=None):
        if self._num_due() > self._num_drawn:
            self._num_drawn = self._num_due()
            draw_captions(self.muse, self.pairs, self.path, self.seed)
            print(f" drawn: {self.path}")

    def _num_due(self):
        seconds = max(self.budget.seconds, 1e-9)
        return int(self.budget.spent / seconds * self.num_sheets)


def draw_captions(muse, pairs, path, seed):
    """True pictures of captions, and what a model draws of them."""
    true, texts = pairs.as_arrays()
    draw_sections(
        [
            ("Pictures", true, texts),
            ("What is drawn of their captions", _draw(muse, texts, seed), None),
        ],
        path=path,
    )


def draw_sheet(muse, preset, collection, image_size, path, seed):
    """The sheet at the end, which remembers how its pictures were drawn.

    Args:
        muse: a `Muse`.
        preset: string. Where it was saved.
        collection: a `Collection`.
        image_size: pair of ints, height and width of what `muse` draws.
        path: string. Where the PNG goes.
        seed: int. Seed of the pictures.
    """
    sections, made = [], []
    options = DrawOptions.of(muse.generation_defaults)
    parts = {"Captions of the training": collection.train}
    if collection.held_out is not None:
        parts["Captions of held-out pictures"] = collection.held_out
    for title, part in parts.items():
        pairs = part.select_evenly(NUM_AT_THE_END).resized(image_size)
        true, texts = pairs.as_arrays()
        sections.append((title, _draw(muse, texts, seed), texts))
        made += parameters.describe(
            muse,
            list(texts),
            seeds=[seed + i for i in range(len(texts))],
            preset=preset,
            options=options,
        )
    restored = _through_tokens(muse, true[:NUM_ON_THE_WAY])
    sections.append(("The pictures of the last captions", true, None))
    sections.append(("The first of them through the tokenizer", restored, None))
    draw_sections(sections, path=path, parameters=made)


def _draw(muse, texts, seed):
    return muse.generate(texts, seed=seed, batch_size=len(texts), verbose=0)


def _through_tokens(muse, images):
    tokenizer = muse.high_res_image_tokenizer or muse.image_tokenizer
    return to_pixels(tokenizer.decode(tokenizer.encode(np.asarray(images))))
