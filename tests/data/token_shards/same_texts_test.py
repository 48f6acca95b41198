"""The encoder of token shards is known by what it makes of a caption."""

import numpy as np
import pytest

from keras_muse.data.token_shards.records import read_metadata
from keras_muse.data.token_shards.same_texts import check_same_texts
from tests.helpers.token_shards import WordEncoder
from tests.helpers.token_shards import make_rows
from tests.helpers.token_shards import write


class Noisy(WordEncoder):
    """States that are some part off, as of less precise weights."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def encode(self, texts, batch_size=None):
        states, mask = super().encode(texts, batch_size)
        noise = np.random.default_rng(0).normal(size=states.shape)
        noise *= self.part * np.linalg.norm(states) / np.linalg.norm(noise)
        return (states + noise).astype("float32"), mask


def check(directory, encoder):
    check_same_texts(directory, read_metadata(directory), encoder)


def test_the_same_encoder_in_less_precision_passes(shards):
    for part in (0.0, 0.05, 0.2):
        check(shards, Noisy(part))


@pytest.mark.parametrize(
    "encoder", [Noisy(0.5), WordEncoder(factor=2.0), WordEncoder(factor=-1.0)]
)
def test_other_states_are_refused_with_the_caption(shards, encoder):
    with pytest.raises(ValueError, match="`text_encoder`.*'picture number 0'"):
        check(shards, encoder)


def test_another_number_of_words_is_refused(shards):
    encoder = WordEncoder()
    tokenize = encoder.tokenize
    encoder.tokenize = lambda texts: tokenize([f"{x} more" for x in texts])
    with pytest.raises(ValueError, match="`text_encoder`"):
        check(shards, encoder)


def test_ids_must_be_equal(tmp_path):
    directory = str(tmp_path)
    write(make_rows(2), directory, store="text_ids")
    # Its weights do not count.
    check(directory, WordEncoder(factor=2.0))
    encoder = WordEncoder()
    tokenize = encoder.tokenize

    def off_by_one(texts):
        tokens = tokenize(texts)
        tokens["token_ids"][:, 1] += 1
        return tokens

    encoder.tokenize = off_by_one
    with pytest.raises(ValueError, match="`text_encoder`"):
        check(directory, encoder)
