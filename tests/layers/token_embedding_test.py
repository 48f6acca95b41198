import keras
import numpy as np

from keras_muse.layers import TokenEmbedding
from tests.helpers.tiny import randomize
from tests.helpers.tiny import to_numpy


def make(**kwargs):
    layer = TokenEmbedding(11, 6, grid_size=(3, 2), **kwargs)
    layer.build()
    randomize(layer)
    return layer


def test_adds_the_position_row_by_row():
    layer = make()
    ids = np.array([[0, 5, 10, 10, 3, 5], [1] * 6])
    codes = to_numpy(layer.codes.embeddings)
    positions = to_numpy(layer.positions)
    assert positions.shape == (3, 2, 6)
    actual = to_numpy(layer(ids))
    for token in range(6):
        row, column = divmod(token, 2)
        np.testing.assert_allclose(
            actual[:, token],
            codes[ids[:, token]] + positions[row, column],
            atol=1e-6,
        )


def test_codes_start_about_as_large_as_positions():
    layer = TokenEmbedding(200, 64, grid_size=(8, 8))
    layer.build()
    codes = to_numpy(layer.codes.embeddings)
    # No direction is common to all codes, or there would be little else.
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=0.3)
    np.testing.assert_allclose(codes.std(), 0.88, atol=0.02)  # it is cut off
    positions = to_numpy(layer.positions)
    np.testing.assert_allclose(np.mean(positions**2), 1, atol=0.1)


def test_dtype_follows_the_policy():
    y = make(dtype="mixed_bfloat16")(np.zeros((1, 6), "int32"))
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"


def test_config_round_trip():
    layer = make()
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()
    assert copy.grid_size == (3, 2)
