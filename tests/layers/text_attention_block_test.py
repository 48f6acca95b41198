import numpy as np
import pytest

from keras_muse.layers import TextAttentionBlock
from tests.helpers.tiny import randomize
from tests.helpers.tiny import to_numpy


def make(text_dim):
    layer = TextAttentionBlock(2, text_dim=text_dim)
    layer.build((None, None, 8))
    randomize(layer)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, 6, 8)).astype("float32")
    text = generator.standard_normal((2, 4, text_dim)).astype("float32")
    return layer, x, text


@pytest.mark.parametrize("text_dim", [8, 12])
def test_tokens_see_the_text_and_not_each_other(text_dim):
    layer, x, text = make(text_dim)
    mask = np.ones((2, 4), "bool")

    def output(x, text):
        key_values = layer.project_context(text)
        return to_numpy(layer(x, key_values, mask))

    plain = output(x, text)
    other = x.copy()
    other[:, 0, :4] += 1.0
    moved = (output(other, text) != plain).any(axis=(0, 2))
    assert moved.tolist() == [True] + [False] * 5
    assert (np.abs(output(x, text[:, ::-1] + 1) - plain) > 1e-3).any()
    assert (layer.text_mapper is None) == (text_dim == 8)


def test_masked_text_does_not_count():
    layer, x, text = make(12)
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 0]], "bool")
    changed = np.where(mask[..., None], text, 9.0).astype("float32")
    outputs = [
        to_numpy(layer(x, layer.project_context(t), mask))
        for t in (text, changed)
    ]
    np.testing.assert_array_equal(*outputs)
