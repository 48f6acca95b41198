import keras
import numpy as np
import pytest

from keras_muse.metrics import CLIPScore
from tests.helpers.tiny_features import TinyScorer
from tests.helpers.tiny_features import pictures_of

TEXTS = ["a cat", "a red boat", "the sea"]


def test_is_the_mean_cosine():
    scorer = TinyScorer()
    draws = np.random.default_rng(0).uniform(-1, 1, (3, scorer.dim))
    expected = [
        x @ y / np.linalg.norm(x) / np.linalg.norm(y)
        for x, y in zip(draws, scorer.text_embeddings(TEXTS), strict=True)
    ]
    metric = CLIPScore(scorer)
    metric.update_state(pictures_of(draws[:2]), TEXTS[:2])
    assert metric.result() == pytest.approx(np.mean(expected[:2]), rel=1e-5)
    metric.update_state(pictures_of(draws[2:]), np.array(TEXTS[2:]))
    assert metric.result() == pytest.approx(np.mean(expected), rel=1e-5)
    assert isinstance(metric.result(), float)


def test_range():
    scorer = TinyScorer()
    embeddings = scorer.text_embeddings(TEXTS)
    for sign in (1, -1):
        metric = CLIPScore(scorer)
        metric.update_state(pictures_of(sign * embeddings), TEXTS)
        assert metric.result() == pytest.approx(sign)
    metric.reset_state()
    with pytest.raises(ValueError, match="Received: 0 pictures"):
        metric.result()


def test_refuses_what_are_no_pairs():
    scorer = TinyScorer()
    metric = CLIPScore(scorer)
    images = pictures_of(np.ones((3, scorer.dim)))
    with pytest.raises(ValueError, match="2 texts, 3 pictures"):
        metric.update_state(images, TEXTS[:2])
    with pytest.raises(ValueError, match="Received: texts='a cat'"):
        metric.update_state(images, "a cat")
    with pytest.raises(ValueError, match="`images`.*Received"):
        metric.update_state(images[0], TEXTS)
    with pytest.raises(ValueError, match="lengths \\[5.* 0"):
        images[2] = 0
        metric.update_state(images, TEXTS)
    scorer.text_embedding = lambda text: np.ones(3)
    with pytest.raises(ValueError, match="\\(2, 8\\) and \\(2, 3\\)"):
        metric.update_state(images[:2], TEXTS[:2])
    with pytest.raises(ValueError, match="`image_embeddings`.*Received"):
        CLIPScore(lambda images, texts: 1.0)


def test_config_round_trip():
    metric = CLIPScore(TinyScorer(), name="fit")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert copy.get_config() == metric.get_config()
    assert isinstance(copy.scorer, TinyScorer) and copy.name == "fit"
