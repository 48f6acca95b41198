import keras
import numpy as np
import pytest

from keras_muse.layers import TransformerLayer
from tests.helpers.tiny import randomize
from tests.helpers.tiny import to_numpy


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def make(**kwargs):
    layer = TransformerLayer(2, intermediate_dim=12, **kwargs)
    layer.build((None, 16, 8))
    randomize(layer)
    return layer


def test_is_three_residual_parts_in_the_papers_order():
    layer, x, text = make(), random(2, 16, 8), random(2, 5, 8)
    mask = np.arange(5) < np.array([[5], [2]])
    key_value = layer.project_context(text)
    y = x + to_numpy(layer.self_attention(layer.self_attention_norm(x)))
    y = y + to_numpy(
        layer.cross_attention(
            layer.cross_attention_norm(y), key_value=key_value, key_mask=mask
        )
    )
    y = y + to_numpy(layer.feed_forward(layer.feed_forward_norm(y)))
    actual = layer(x, context_key_value=key_value, context_mask=mask)
    np.testing.assert_allclose(to_numpy(actual), y, rtol=1e-4, atol=1e-4)


def test_normalization_is_of_each_token():
    norm = make().self_attention_norm
    norm.gamma.assign(np.ones(8))
    norm.beta.assign(np.zeros(8))
    x = random(1, 4, 8)
    centered = x - x.mean(axis=-1, keepdims=True)
    expected = centered / np.sqrt((centered**2).mean(axis=-1)[..., None] + 1e-6)
    np.testing.assert_allclose(to_numpy(norm(x)), expected, atol=1e-5)


def test_without_context_there_is_no_cross_attention():
    layer = make(use_cross_attention=False)
    assert not any("cross" in w.path for w in layer.weights)
    assert layer(random(1, 16, 8)).shape == (1, 16, 8)


def test_blocks_make_self_attention_local():
    layer = make(use_cross_attention=False, grid_size=(4, 4), block_size=2)
    x = random(1, 16, 8)
    changed = x.copy()
    changed[0, 0, :4] += 1.0  # all of it would be normalized away
    moved = (to_numpy(layer(changed)) != to_numpy(layer(x))).any(axis=-1)[0]
    # Its block, and the first place of each block.
    assert np.flatnonzero(moved).tolist() == [0, 1, 2, 4, 5, 8, 10]


@pytest.mark.parametrize("blocks", [{}, {"grid_size": (4, 4), "block_size": 2}])
def test_options_reach_all_its_parts(blocks):
    layer = make(use_query_key_norm=True, use_gated_activation=True, **blocks)
    names = {w.path.partition("/")[2] for w in layer.weights}
    names -= {w.path.partition("/")[2] for w in make(**blocks).weights}
    assert names == {
        "self_attention/query_norm/gamma",
        "self_attention/key_norm/gamma",
        "cross_attention/query_norm/gamma",
        "cross_attention/key_norm/gamma",
        "feed_forward/gate_dense/kernel",
        "feed_forward/gate_dense/bias",
    }


OPTIONS = [
    {"grid_size": (4, 4), "block_size": 2},
    {"use_gated_activation": True},
    {"use_query_key_norm": True},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_config_round_trip(options):
    layer = TransformerLayer(2, 12, use_cross_attention=False, **options)
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()


def test_a_context_is_required_where_there_is_cross_attention():
    layer = TransformerLayer(2, 16, use_cross_attention=True)
    layer.build((None, 4, 8))
    with pytest.raises(ValueError, match="`context_key_value` is required"):
        layer(np.zeros((1, 4, 8), "float32"))
