import keras
import numpy as np
import pytest

from keras_muse.layers import Attention
from keras_muse.layers import MultiAxisAttention
from tests.helpers.tiny import randomize
from tests.helpers.tiny import to_numpy


def make(grid_size=(8, 4), block_size=2, **kwargs):
    layer = MultiAxisAttention(
        num_heads=2, grid_size=grid_size, block_size=block_size, **kwargs
    )
    layer.build((None, 32, 8))
    randomize(layer)
    return layer


def test_a_token_is_seen_by_its_block_and_its_places():
    layer = make()
    x = np.random.default_rng(0).standard_normal((1, 32, 8)).astype("float32")
    changed = x.copy()
    changed[0, 9] += 1.0  # row 2, column 1
    moved = (to_numpy(layer(changed)) != to_numpy(layer(x))).any(axis=-1)[0]
    rows, columns = np.divmod(np.arange(32), 4)
    inside = (rows // 2 == 1) & (columns // 2 == 0)
    across = (rows % 2 == 0) & (columns % 2 == 1)
    np.testing.assert_array_equal(moved, inside | across)


def test_two_layers_see_everything():
    layer = make()
    x = np.random.default_rng(0).standard_normal((1, 32, 8)).astype("float32")
    changed = x.copy()
    changed[0, 9] += 1.0
    difference = to_numpy(layer(layer(changed))) - to_numpy(layer(layer(x)))
    assert (abs(difference).max(axis=-1) > 0).all()


def test_it_has_the_weights_of_plain_attention():
    plain = Attention(num_heads=2)
    plain.build((None, 32, 8))
    shapes = [w.shape for w in plain.weights]
    assert [w.shape for w in make().weights] == shapes


def test_config_round_trip():
    layer = make(dtype="bfloat16", use_query_key_norm=True)
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()
    assert copy.grid_size == (8, 4) and copy.block_size == 2


def test_unusable_settings_raise():
    with pytest.raises(ValueError, match="Received: num_heads=3"):
        MultiAxisAttention(num_heads=3, grid_size=(4, 4), block_size=2)
    with pytest.raises(ValueError, match=r"block_size=3, grid_size=\(6, 4\)"):
        MultiAxisAttention(num_heads=2, grid_size=(6, 4), block_size=3)


def test_a_mask_is_refused_and_not_left_out():
    layer = MultiAxisAttention(2, grid_size=(4, 4), block_size=2)
    layer.build((None, 16, 8))
    x = np.zeros((1, 16, 8), "float32")
    with pytest.raises(ValueError, match="`key_mask` must be None"):
        layer(x, key_mask=np.ones((1, 16), "bool"))
