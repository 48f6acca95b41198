"""A tiny feature network, a scorer and a torch module, for the metrics."""

import keras
import numpy as np
import torch
from keras import ops


@keras.saving.register_keras_serializable(package="keras_muse_tests")
class TinyFeatures(keras.layers.Layer):
    """A fixed convolution, averaged over the picture: four features."""

    def __init__(self, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, images_shape):
        self.kernel = self.add_weight(
            shape=(3, 3, images_shape[-1], 4),
            initializer=keras.initializers.RandomNormal(seed=self.seed),
            trainable=False,
        )

    def call(self, images):
        x = ops.conv(images, self.kernel, data_format="channels_last")
        return ops.mean(ops.relu(x), axis=(1, 2))

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_muse_tests")
class TinyScorer:
    """Reads embeddings from the corner of a picture, and from a table."""

    dim = 8

    def image_embeddings(self, images):
        """`images` of `pictures_of` are their embeddings, times 2."""
        return 2.0 * images.reshape(len(images), -1)[:, : self.dim]

    def text_embeddings(self, texts):
        return np.stack([self.text_embedding(text) for text in texts])

    def text_embedding(self, text):
        seed = sum(map(ord, text)) + 1000 * len(text)
        x = np.random.default_rng(seed).standard_normal(self.dim)
        return (x / np.linalg.norm(x)).astype("float32")

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def pictures_of(embeddings):
    """Float pictures that `TinyScorer` reads as these embeddings."""
    flat = np.zeros((len(embeddings), 12), "float32")
    flat[:, : TinyScorer.dim] = embeddings
    return flat.reshape(-1, 2, 2, 3)


def random_pictures(count, seed=0, size=8):
    shape = (count, size, size, 3)
    return np.random.RandomState(seed).randint(0, 256, shape, "uint8")


class TorchFeatures(torch.nn.Module):
    """Features pass, for what torchmetrics would compute from pictures."""

    def __init__(self, num_features):
        super().__init__()
        self.num_features = num_features

    def forward(self, features):
        return features
