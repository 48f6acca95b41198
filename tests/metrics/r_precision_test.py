import keras
import numpy as np
import pytest

from keras_muse.metrics import RPrecision
from tests.helpers.tiny_features import TinyScorer
from tests.helpers.tiny_features import pictures_of


def texts_of(count):
    return [f"thing number {i:04d}, {'x' * (i % 7)}" for i in range(count)]


def measure(embeddings, texts, parts=1, scorer=None, **kwargs):
    metric = RPrecision(scorer or TinyScorer(), **kwargs)
    rows = np.array_split(np.arange(len(texts)), parts)
    for i in rows:
        metric.update_state(pictures_of(embeddings[i]), [texts[j] for j in i])
    return metric.result()


class OneHotScorer(TinyScorer):
    """Texts are numbers; each has a direction of its own."""

    def text_embedding(self, text):
        return np.eye(self.dim)[int(text)]


def test_all_texts_as_candidates_is_a_search():
    """Where every other text is drawn, the draw does not matter."""
    scorer = TinyScorer()
    texts = texts_of(20)
    embeddings = np.random.default_rng(0).uniform(-1, 1, (20, scorer.dim))
    embeddings[:8] = scorer.text_embeddings(texts[:8])
    table = scorer.text_embeddings(texts)
    hits = 0
    for i in range(20):
        similarity = [x @ embeddings[i] for x in table]
        hits += all(similarity[i] > similarity[j] for j in range(20) if j != i)
    assert 8 <= hits < 20
    for seed in (0, 1):
        result = measure(embeddings, texts, num_candidates=20, seed=seed)
        assert result == hits / 20


def test_perfect_pictures():
    texts = texts_of(30)
    embeddings = TinyScorer().text_embeddings(texts)
    assert measure(embeddings, texts, num_candidates=30) == 1.0
    # Also where texts come more than once: they are no rivals of themselves.
    twice = np.concatenate([embeddings, embeddings])
    assert measure(twice, 2 * texts, num_candidates=30) == 1.0


@pytest.mark.parametrize("num_candidates", [2, 10])
def test_chance_level(num_candidates):
    texts = texts_of(60)
    draws = np.random.default_rng(0).uniform(-1, 1, (2000, TinyScorer.dim))
    texts = [texts[i % 60] for i in range(2000)]
    chance = 1 / num_candidates
    error = np.sqrt(chance * (1 - chance) / 2000)
    result = measure(draws, texts, num_candidates=num_candidates)
    assert result == pytest.approx(chance, abs=4 * error)


def test_draws_are_other_texts_without_repetition():
    metric = RPrecision(TinyScorer(), num_candidates=5)
    drawn = [metric._candidates(i, 3, 7) for i in range(400)]
    for candidates in drawn:
        assert candidates[0] == 3 and 3 not in candidates[1:]
        assert len(set(candidates)) == 5 and max(candidates) < 7
    counts = np.bincount(np.ravel([c[1:] for c in drawn]), minlength=7)
    expected = 400 * 4 / 6
    assert counts[3] == 0
    assert abs(np.delete(counts, 3) - expected).max() < 5 * np.sqrt(expected)


def test_ties_are_misses():
    scorer = OneHotScorer()
    scorer.text_embedding = lambda text: np.ones(8) / np.sqrt(8)
    embeddings = np.random.default_rng(0).uniform(0.1, 1, (9, 8))
    texts = texts_of(9)
    assert measure(embeddings, texts, scorer=scorer, num_candidates=9) == 0.0


def test_batches_do_not_matter_and_seeds_do():
    texts = texts_of(40)
    draws = np.random.default_rng(0).uniform(-1, 1, (40, TinyScorer.dim))
    results = [
        measure(draws, texts, parts=parts, num_candidates=3)
        for parts in (1, 3, 40)
    ]
    assert len(set(results)) == 1
    others = [
        measure(draws, texts, num_candidates=3, seed=seed)
        for seed in range(1, 5)
    ]
    assert len(set(others) | set(results)) > 1


def test_too_few_texts():
    texts = texts_of(4) * 3
    draws = np.ones((12, TinyScorer.dim))
    with pytest.raises(ValueError, match="4 different .*num_candidates=5"):
        measure(draws, texts, num_candidates=5)
    with pytest.raises(ValueError, match="num_candidates=1"):
        RPrecision(TinyScorer(), num_candidates=1)
    with pytest.raises(ValueError, match="seed=-1"):
        RPrecision(TinyScorer(), seed=-1)


def test_refuses_other_embeddings():
    metric = RPrecision(TinyScorer())
    metric.update_state(pictures_of(np.ones((1, 8))), ["a"])
    metric.scorer.dim = 6
    with pytest.raises(ValueError, match="length 6, before it 8"):
        metric.update_state(pictures_of(np.ones((1, 8))), ["a"])


def test_reset_and_config():
    metric = RPrecision(TinyScorer(), num_candidates=2, seed=5, name="r")
    metric.update_state(pictures_of(np.ones((2, 8))), ["a", "b"])
    metric.reset_state()
    with pytest.raises(ValueError, match="0 different"):
        metric.result()
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert copy.get_config() == metric.get_config()
    assert (copy.num_candidates, copy.seed, copy.name) == (2, 5, "r")
