import dataclasses

import numpy as np
import pytest

from keras_muse import data
from keras_muse import metrics
from keras_muse.evaluation import evaluate_tokenizer
from tests.helpers.colors import mean_colors
from tests.helpers.tiny import to_numpy
from tests.helpers.tiny_muse import tiny_picture_tokenizer


def test_scores_are_those_of_the_reconstructions():
    pairs = data.load_emoji(
        image_size=16, split="test_pair", shuffle=False
    ).select(range(40))
    tokenizer = tiny_picture_tokenizer()
    scores = evaluate_tokenizer(tokenizer, pairs, mean_colors)
    images, _ = pairs.as_arrays()
    restored = to_numpy(tokenizer.predict(images, verbose=0)).clip(-1, 1)
    psnr = metrics.PSNR()
    psnr.update_state(images, restored)
    distance = metrics.FrechetDistance(mean_colors)
    distance.update_state(images, restored)
    # The scores are of pixels of 8 bits.
    assert scores["psnr"] == pytest.approx(psnr.result(), abs=0.01)
    assert scores["rfid"] == pytest.approx(distance.result(), rel=0.01)
    token_ids = to_numpy(tokenizer.encode(images))
    used = len(np.unique(token_ids)) / tokenizer.codebook_size
    assert scores["codebook_usage"] == pytest.approx(used)
    assert scores["num_pictures"] == 40 and scores["image_size"] == 16


def test_the_size_of_pictures_that_are_no_squares():
    pairs = data.load_emoji(
        image_size=(8, 16), split="test_pair", shuffle=False
    ).select(range(4))
    scores = evaluate_tokenizer(tiny_picture_tokenizer(), pairs, mean_colors)
    assert scores["image_size"] == (8, 16)


def test_broken_pictures_are_left_out():
    """Also where they are all of the last batch."""
    pairs = data.load_emoji(
        image_size=16, split="test_pair", shuffle=False
    ).select(range(34))
    whole = pairs.select(range(32))
    for i in (32, 33):
        pairs._rows[i] = dataclasses.replace(
            pairs._rows[i], read=lambda: b"no picture"
        )
    tokenizer = tiny_picture_tokenizer()
    with pytest.warns(UserWarning, match="is skipped"):
        scores = evaluate_tokenizer(tokenizer, pairs, mean_colors)
    expected = evaluate_tokenizer(tokenizer, whole, mean_colors)
    assert scores["num_pictures"] == 32 and scores["image_size"] == 16
    assert scores == pytest.approx(expected, rel=1e-6)
