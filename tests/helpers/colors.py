"""Networks and scorers that see colours only, and a protocol of theirs."""

import dataclasses

import keras
import numpy as np

from keras_muse import metrics
from keras_muse.evaluation import Protocol


def mean_colors(images):
    """Features of a picture: the mean colours of its four quarters."""
    images = keras.ops.image.resize(images, (2, 2), antialias=True)
    return keras.ops.reshape(images, (-1, 12))


class Colors:
    """A scorer that knows colours only."""

    def image_embeddings(self, images):
        return images.mean(axis=(1, 2)) / 255 + 0.01

    def text_embeddings(self, texts):
        return np.array([[len(text), text.count("a"), 1.0] for text in texts])


PROTOCOL = Protocol(
    feature_network=lambda: mean_colors,
    feature_metrics=lambda: [metrics.FrechetDistance()],
    pair_metrics=lambda: [metrics.PSNR()],
    text_metrics=lambda: [metrics.RPrecision(Colors(), num_candidates=3)],
)
DRAWN = Protocol(
    feature_network=lambda: mean_colors,
    feature_metrics=lambda: [
        metrics.FrechetDistance(),
        metrics.KernelDistance(),
    ],
    pair_metrics=list,
    text_metrics=list,
    num_prompts=10,
)
ALL = dataclasses.replace(DRAWN, references="all")


def quarters(images):
    return mean_colors(images) ** 2
