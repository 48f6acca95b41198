import numpy as np
import pytest

from keras_muse.metrics.paired_embeddings import check_scorer
from keras_muse.metrics.paired_embeddings import paired_embeddings
from tests.helpers.tiny_features import TinyScorer
from tests.helpers.tiny_features import pictures_of

TEXTS = ["a cat", "a red apple"]
EMBEDDINGS = np.random.default_rng(0).uniform(-1, 1, (2, 8))


class Changed(TinyScorer):
    """A scorer whose embeddings of texts are others."""

    def __init__(self, change):
        self.change = change

    def text_embeddings(self, texts):
        return self.change(super().text_embeddings(texts))


def test_both_are_of_unit_length_in_float64():
    images, texts, found = paired_embeddings(
        TinyScorer(), pictures_of(EMBEDDINGS), tuple(TEXTS)
    )
    assert found == TEXTS
    for embeddings in (images, texts):
        assert embeddings.dtype == "float64"
        lengths = np.linalg.norm(embeddings, axis=1)
        np.testing.assert_allclose(lengths, 1, atol=1e-15)
    lengths = np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)
    np.testing.assert_allclose(images, EMBEDDINGS / lengths, atol=1e-6)
    expected = TinyScorer().text_embeddings(TEXTS)
    np.testing.assert_allclose(texts, expected, atol=1e-6)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda x: x[:1], r"\(2, 8\) and \(1, 8\)"),
        (lambda x: x[:, :5], r"\(2, 8\) and \(2, 5\)"),
        (lambda x: 0 * x, r"not zero.*\[0. 0.\]"),
        (lambda x: x + [[np.nan], [0]], "finite embeddings.*nan"),
    ],
)
def test_embeddings_that_are_none_are_refused(change, words):
    with pytest.raises(ValueError, match=f"`scorer` must give.*{words}"):
        paired_embeddings(Changed(change), pictures_of(EMBEDDINGS), TEXTS)


@pytest.mark.parametrize("texts", ["a cat", ["a cat"], [*TEXTS, "a dog"]])
def test_there_is_one_text_a_picture(texts):
    with pytest.raises(ValueError, match="`texts` must be.*one per picture"):
        paired_embeddings(TinyScorer(), pictures_of(EMBEDDINGS), texts)


def test_what_is_no_scorer_is_named():
    check_scorer(TinyScorer())
    scorer = TinyScorer()
    scorer.text_embeddings = None
    with pytest.raises(ValueError, match="`scorer`.*method `text_embeddings`"):
        check_scorer(scorer)
    with pytest.raises(ValueError, match="`image_embeddings`.*scorer='clip'"):
        check_scorer("clip")
