"""What each model of a cascade is trained with."""

import types

import numpy as np
import pytest

from keras_muse.data import ImageTextDataset
from keras_muse.recipes import stages
from tests.helpers.picture_rows import make_rows


@pytest.fixture(params=[True, False], ids=["processor", "accelerator"])
def processor(request, monkeypatch):
    monkeypatch.setattr(stages, "on_processor", lambda: request.param)
    return request.param


@pytest.mark.parametrize("size, base, large", [(16, 8, 16), (8, 8, 10)])
def test_a_tokenizer_sees_pictures_and_larger_ones(size, base, large):
    pairs = ImageTextDataset(make_rows(5), image_size=4)
    found = stages.tokenizer_arrays(pairs, size, base)
    assert [x.shape for x in found] == [
        (5, base, base, 3),
        (5, large, large, 3),
    ]
    for images in found:  # row by row the same pictures
        assert images.dtype == "uint8"
        np.testing.assert_array_equal(images[:, 0, 0, 0], np.arange(5))


def test_no_more_pictures_than_there_is_memory_for(monkeypatch):
    monkeypatch.setattr(stages, "MOST_BYTES", 3 * 16 * 16 * 3)
    pairs = ImageTextDataset(make_rows(9), image_size=4)
    small, _ = stages.tokenizer_arrays(pairs, 16, 8)
    assert small[:, 0, 0, 0].tolist() == [0, 3, 6]


def test_pictures_are_not_decoded_for_a_tokenizer_that_is_done(monkeypatch):
    monkeypatch.setattr(stages, "compile_tokenizer", lambda *arguments: None)
    budget = types.SimpleNamespace(restore=lambda tokenizer: True)
    pairs = None  # nothing is asked of them
    stages.train_tokenizer(None, pairs, 16, 8, budget, seed=0)


def test_larger_pictures_make_smaller_batches(processor):
    sizes = [stages.tokenizer_batch_size(size) for size in (16, 32, 64, 256)]
    assert sizes == ([256, 64, 16, 8] if processor else [128] * 4)
    # Of pictures, and of parts of larger ones, as many.
    assert stages.tokenizer_batch_size(37) % 2 == 0


@pytest.mark.parametrize("num_tokens", [16, 64, 256, 1024])
def test_a_step_has_as_many_tokens_as_fit(processor, num_tokens):
    most = 2**11 if processor else 2**15
    size = stages.transformer_batch_size(num_tokens, 10**6)
    assert size in (8, 256, most // num_tokens)
    assert 8 <= size <= 256
    # No more than there are rows, as long as there are some.
    assert stages.transformer_batch_size(num_tokens, 9) <= 9
