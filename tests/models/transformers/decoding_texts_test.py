import numpy as np
import pytest

from keras_muse.models.transformers.decoding import check_negative_text
from keras_muse.models.transformers.decoding import check_text


def test_good_text_passes_as_it_is():
    embeddings = np.random.normal(size=(2, 5, 6))
    text = check_text(embeddings, [[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], 6)
    np.testing.assert_allclose(text["text_embeddings"], embeddings, rtol=1e-6)
    assert text["text_mask"].dtype == "bool"
    assert text["text_mask"].sum() == 4


@pytest.mark.parametrize("shape", [(2, 6), (2, 5, 7)])
def test_wrong_embeddings_are_named(shape):
    with pytest.raises(ValueError, match="`text_embeddings` must be of shape"):
        check_text(np.zeros(shape), np.ones((2, 5)), 6)


def test_wrong_mask_is_named():
    with pytest.raises(ValueError, match=r"`text_mask`.*shape=\(2, 4\)"):
        check_text(np.zeros((2, 5, 6)), np.ones((2, 4)), 6)


def test_no_negative_text_has_nothing_to_attend_to():
    text = check_text(np.ones((2, 5, 6)), np.ones((2, 5)), 6)
    negative = check_negative_text(text, None, None, 6)
    assert not negative["text_mask"].any()
    assert negative["text_embeddings"].shape == (2, 5, 6)


def test_negative_text_must_match():
    text = check_text(np.ones((2, 5, 6)), np.ones((2, 5)), 6)
    with pytest.raises(ValueError, match="`negative_text_embeddings` must"):
        check_negative_text(text, np.ones((1, 5, 6)), np.ones((1, 5)), 6)
