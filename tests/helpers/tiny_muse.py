"""A tiny `Muse`, and its directory, for the tests that need a whole one."""

import functools

import keras

import keras_muse
from tests.helpers import tiny

PIECES = "[PAD] [UNK] [CLS] [SEP] a red green blue apple cat on".split()


def tiny_text_encoder(**changes):
    """Words of `PIECES` to vectors of `tiny.TEXT_DIM`."""
    config = {
        "vocabulary_size": len(PIECES),
        "num_layers": 1,
        "num_heads": 2,
        "hidden_dim": tiny.TEXT_DIM,
        "intermediate_dim": 12,
        "max_sequence_length": 8,
        "sequence_length": 6,
        "vocabulary": PIECES,
    }
    keras.utils.set_random_seed(0)
    return keras_muse.MiniLMTextEncoder(**{**config, **changes})


def tiny_picture_tokenizer(**changes):
    """Random weights large enough that each token is its own colour."""
    tokenizer = tiny.tiny_tokenizer(**changes)
    tiny.randomize(tokenizer, 0.2)
    return tokenizer


def tiny_muse(cascade=True, two_tokenizers=False, **parts):
    """16 x 16 pixels from the base; 32 x 32 from the whole cascade.

    With `two_tokenizers` the large pictures have a codebook of their own.
    """
    codes = 20 if two_tokenizers else 16
    if cascade:
        parts.setdefault(
            "super_res",
            tiny.tiny_super_res(
                codebook_size=codes, grid_size=(8, 8), low_res_grid_size=(4, 4)
            ),
        )
    if two_tokenizers:
        parts.setdefault(
            "high_res_image_tokenizer",
            tiny_picture_tokenizer(codebook_size=codes),
        )
    return keras_muse.Muse(
        parts.pop("text_encoder", None) or tiny_text_encoder(),
        parts.pop("base", None) or tiny.tiny_base(),
        parts.pop("image_tokenizer", None) or tiny_picture_tokenizer(),
        **parts,
    )


@functools.cache
def shared_muse(cascade=True):
    """One for all test files that do not change it: compiled once."""
    return tiny_muse(cascade)
