import keras
import numpy as np
import pytest
from scipy import special

from keras_muse.layers import Attention
from keras_muse.ops import attention
from tests.helpers.tiny import randomize
from tests.helpers.tiny import to_numpy


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


@pytest.fixture
def layer():
    layer = Attention(num_heads=2)
    layer.build((None, 16, 8))
    randomize(layer)
    return layer


def test_equals_its_matrices(layer):
    x, text = random(3, 16, 8), random(3, 5, 8)
    mask = np.arange(5) < np.array([[5], [3], [1]])
    query, key, value, output = (to_numpy(w) for w in layer.trainable_variables)

    def heads(y):
        return y.reshape(*y.shape[:2], 2, 4)

    mixed = attention.attend(
        heads(x @ query), heads(text @ key), heads(text @ value), mask
    )
    expected = to_numpy(mixed).reshape(3, 16, 8) @ output
    actual = layer(x, key_value=layer.project(text), key_mask=mask)
    np.testing.assert_allclose(to_numpy(actual), expected, atol=1e-4)


def test_normalized_queries_and_keys_equal_numpy():
    layer = Attention(num_heads=2, use_query_key_norm=True)
    layer.build((None, 16, 8))
    randomize(layer)
    x, text = 9 * random(3, 16, 8), 9 * random(3, 5, 8)

    def heads(y, projection):
        y = y @ to_numpy(projection.kernel)
        return y.reshape(*y.shape[:2], 2, 4).swapaxes(1, 2)

    def normalize(y, norm):
        mean, variance = (
            f(y, axis=-1, keepdims=True) for f in (np.mean, np.var)
        )
        return (y - mean) / np.sqrt(variance + 1e-6) * to_numpy(norm.gamma)

    query = normalize(heads(x, layer.query), layer.query_norm)
    key = normalize(heads(text, layer.key), layer.key_norm)
    weights = special.softmax(query @ key.swapaxes(2, 3) / 2, axis=-1)
    mixed = (weights @ heads(text, layer.value)).swapaxes(1, 2)
    expected = mixed.reshape(3, 16, 8) @ to_numpy(layer.attention_output.kernel)
    actual = layer(x, key_value=layer.project(text))
    np.testing.assert_allclose(to_numpy(actual), expected, atol=1e-4)


def test_without_context_it_is_self_attention():
    layer = Attention(num_heads=2)
    layer.build((None, 4, 8))
    randomize(layer)
    x = random(2, 4, 8)
    np.testing.assert_array_equal(
        to_numpy(layer(x)), to_numpy(layer(x, key_value=layer.project(x)))
    )


def test_builds_itself():
    x = random(2, 4, 8)
    assert Attention(num_heads=2)(x).shape == (2, 4, 8)


def test_no_key_at_all_gives_exactly_zero(layer):
    context = layer.project(random(2, 5, 8))
    y = layer(
        random(2, 16, 8), key_value=context, key_mask=np.zeros((2, 5), bool)
    )
    np.testing.assert_array_equal(to_numpy(y), 0)


def test_projections_are_leaves_by_name_and_start_above_zero():
    layer = Attention(num_heads=2)
    layer.build((None, 16, 32))
    names = [sublayer.name for sublayer in layer._layers]
    assert names == ["query", "key", "value", "attention_output"]
    for weight in layer.trainable_variables:
        # A third of the variance stays over 32 inputs.
        assert to_numpy(weight).std() == pytest.approx(96**-0.5, rel=0.1)
    assert len(layer.weights) == 4  # no biases


def test_config_round_trip():
    layer = Attention(4, use_query_key_norm=True, dtype="bfloat16", name="a")
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()


def test_width_must_fit_the_heads():
    with pytest.raises(ValueError, match="num_heads=3, width=8"):
        Attention(num_heads=3).build((None, 4, 8))


class Reader(keras.Model):
    """Attends to its input; the second row has nothing to attend to."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = Attention(2, dtype=self.dtype_policy)
        self.attention.build((None, 6, 8))

    def call(self, x):
        mask = np.array([[True] * 6, [False] * 6])
        key_value = self.attention.project(x)
        return self.attention(x, key_value=key_value, key_mask=mask)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_row_without_keys_does_not_spoil_the_gradient(dtype):
    """With float16 a step whose gradient is not finite is skipped."""
    model = Reader(dtype=dtype)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    before = [to_numpy(v) for v in model.trainable_variables]
    x = np.random.default_rng(0).standard_normal((2, 6, 8)).astype("float32")
    model.train_on_batch(x, np.ones_like(x))
    for old, new in zip(before, model.trainable_variables, strict=True):
        new = to_numpy(new)
        assert np.isfinite(new).all() and (new != old).any()


@pytest.mark.parametrize("dtype", ["int32", "float32", "uint8"])
def test_a_mask_of_numbers_is_a_mask(dtype):
    layer = Attention(2)
    layer.build((None, 5, 8))
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
    mask = np.arange(5) < np.array([[3], [5]])
    np.testing.assert_array_equal(
        to_numpy(layer(x, key_mask=mask.astype(dtype))),
        to_numpy(layer(x, key_mask=mask)),
    )
