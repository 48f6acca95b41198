"""How well a preset knows pictures that it never saw."""

import numpy as np
import pytest

from keras_muse.recipes import familiarity
from keras_muse.recipes.familiarity import Familiarity
from keras_muse.recipes.losses import Losses


@pytest.mark.parametrize(
    "losses, is_good",
    [
        (None, False),
        (Losses(loss=3.0, shuffled=4.0, uniform=6.0), True),
        # Better than guessing, but deaf to captions.
        (Losses(loss=3.0, shuffled=3.0, uniform=6.0), False),
        (Losses(loss=5.0, shuffled=6.0, uniform=6.0), False),
    ],
)
def test_a_good_base_reads_captions_and_does_not_guess(losses, is_good):
    assert Familiarity(0.1, losses).has_good_base == is_good


def test_good_tokens_are_near_to_the_pictures():
    bound = familiarity.GOOD_DISTANCE
    assert Familiarity(bound, None).has_good_tokens
    assert not Familiarity(1.01 * bound, None).has_good_tokens


class Pairs:
    num_asked = None

    def select_evenly(self, count):
        self.num_asked = count
        return self


@pytest.mark.parametrize("distance", [0.05, 0.5])
def test_a_base_is_asked_only_where_tokens_are_good(monkeypatch, distance):
    losses = Losses(loss=3.0, shuffled=4.0, uniform=6.0)
    asked = []

    class Base:
        def compile(self):
            asked.append("compile")

    monkeypatch.setattr(familiarity, "distance", lambda *args: distance)
    monkeypatch.setattr(familiarity, "token_rows", lambda *args: args)
    monkeypatch.setattr(familiarity, "measure", lambda *args: losses)
    pairs = Pairs()
    found = familiarity.familiarity_of(
        pairs, 32, "tokenizer", "encoder", Base()
    )
    assert pairs.num_asked == familiarity.NUM_ROWS
    assert found == Familiarity(distance, losses if distance < 0.1 else None)
    assert asked == (["compile"] if distance < 0.1 else [])
    assert familiarity.familiarity_of(pairs, 32, "tokenizer").losses is None


def test_the_distance_is_that_of_the_round_trip(monkeypatch):
    images = np.zeros((2, 8, 8, 3), "uint8")

    class Rows:
        def resized(self, size):
            assert size == 8
            return self

        def as_arrays(self):
            return images, ["a", "b"]

    class Tokenizer:
        def encode(self, given):
            np.testing.assert_array_equal(given, images)
            return "tokens"

        def decode(self, tokens):
            assert tokens == "tokens"
            return np.ones((2, 8, 8, 3), "float32")

    class Metric:
        def update_state(self, true, drawn):
            self.mean = np.abs(true.astype(int) - drawn).mean()

        def result(self):
            return self.mean

    monkeypatch.setattr(familiarity, "PerceptualDistance", Metric)
    assert familiarity.distance(Rows(), 8, Tokenizer()) == 255
