"""Token shards of small pictures, by models that numpy is enough for."""

import hashlib
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from keras_muse.data import write_token_shards
from keras_muse.data.image_text import load_image_text

LENGTH = 5
DIM = 4


class Part:
    """Weights of a model."""

    def __init__(self, codebook=None):
        self.codebook = codebook
        self.weights = [] if codebook is None else [codebook]

    def fingerprint(self):
        return str(self.codebook.sum())


class PixelTokenizer:
    """The mean of a 4 x 4 patch is its token."""

    codebook_size = 256

    def __init__(self, codebook_seed=0):
        generator = np.random.default_rng(codebook_seed)
        self.encoder = Part()
        self.quantizer = Part(generator.normal(size=(256, 2)))
        self.shapes = []

    def get_config(self):
        return {"name": str(id(self))}

    def encode(self, images, batch_size):
        assert images.dtype == np.uint8
        assert len(images) == batch_size
        self.shapes.append(images.shape)
        b, h, w, c = images.shape
        patches = images.reshape(b, h // 4, 4, w // 4, 4, c)
        return patches.mean(axis=(2, 4, 5)).round().astype("int32")


class WordEncoder:
    """One vector a word, after it a vector that ends the caption."""

    sequence_length = LENGTH
    text_dim = DIM

    def __init__(self, factor=1.0):
        self.encoded = []
        self.batch_sizes = []
        self.factor = factor
        self.weights = [np.array(factor)]

    def get_config(self):
        return {"sequence_length": self.sequence_length}

    def tokenize(self, texts):
        ids = np.zeros((len(texts), LENGTH), "int32")
        for row, text in zip(ids, texts, strict=True):
            words = [1 + sum(word.encode()) % 97 for word in text.split()]
            words = [*words[: LENGTH - 1], 99]
            row[: len(words)] = words
        return {"token_ids": ids, "padding_mask": ids > 0}

    def embedding_mask(self, padding_mask):
        return padding_mask

    def predict_on_batch(self, inputs):
        frequencies = self.factor * np.arange(1.0, 1 + DIM)
        angles = inputs["token_ids"][..., None] * frequencies
        return np.sin(angles, dtype="float32")  # not zero at padding

    def encode(self, texts, batch_size=None):
        self.encoded += texts
        self.batch_sizes.append(batch_size)
        tokens = self.tokenize(texts)
        mask = tokens["padding_mask"]
        return self.predict_on_batch(tokens) * mask[..., None], mask


def picture(value, size=8):
    return np.full((size, size, 3), value, "uint8")


def make_rows(count=10):
    return [
        {"image": picture(i), "text": f"picture number {i}"}
        for i in range(count)
    ]


def write(rows, directory, **kwargs):
    kwargs = {"verbose": 0, "batch_size": 4, "rows_per_shard": 4, **kwargs}
    encoder = kwargs.pop("text_encoder", WordEncoder())
    tokenizer = kwargs.pop("tokenizer", PixelTokenizer())
    return write_token_shards(rows, directory, tokenizer, encoder, **kwargs)


def order(batches):
    """Which record each row of the batches is; a picture's value names it."""
    return [int(row[0]) for batch in batches for row in batch["token_ids"]]


def flat(batches, name):
    return np.concatenate([batch[name] for batch in batches])


def hashes(directory):
    """Of all files, to their names."""
    return {
        name: hashlib.sha256(
            pathlib.Path(directory, name).read_bytes()
        ).hexdigest()
        for name in os.listdir(directory)
    }


def picture_folder(folder, count):
    folder.mkdir()
    for i in range(count):
        Image.fromarray(picture(i)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"picture number {i}")
    return load_image_text(str(folder), image_size=8)


def stop_after(num_rows, pairs, directory, **kwargs):
    """Leaves an unfinished run."""

    class Stopping(PixelTokenizer):
        def encode(self, images, batch_size):
            if len(self.shapes) * batch_size >= num_rows:
                raise KeyboardInterrupt
            return super().encode(images, batch_size)

    with pytest.raises(KeyboardInterrupt):
        write(pairs, directory, tokenizer=Stopping(), **kwargs)
