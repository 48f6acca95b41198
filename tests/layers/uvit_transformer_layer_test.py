import numpy as np

from keras_muse.layers import UViTTransformerLayer
from tests.helpers.tiny import randomize
from tests.helpers.tiny import to_numpy


def make():
    layer = UViTTransformerLayer(2, intermediate_dim=12)
    layer.build((None, None, 8))
    randomize(layer)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, 6, 8)).astype("float32")
    context = generator.standard_normal((2, 1 + 4, 8)).astype("float32")
    return layer, x, context


def test_is_three_residual_parts():
    layer, x, context = make()
    mask = np.ones((2, 4), "bool")
    key_value, modulations = layer.project_context(context)
    y = x + to_numpy(
        layer.self_attention(layer.self_attention_norm(x, modulations[0]))
    )
    y = y + to_numpy(
        layer.cross_attention(
            layer.cross_attention_norm(y, modulations[1]), key_value, mask
        )
    )
    z = layer.feed_forward_norm(y, modulations[2])
    y = y + to_numpy(layer._feed_forward(z))
    actual = layer(x, layer.project_context(context), mask)
    np.testing.assert_allclose(to_numpy(actual), y, rtol=1e-4, atol=1e-4)


def test_the_condition_is_no_key():
    """The first row of the context acts on the norms alone."""
    layer, x, context = make()
    mask = np.zeros((2, 4), "bool")
    changed = context.copy()
    changed[:, 1:] += 1.0
    outputs = [
        to_numpy(layer(x, layer.project_context(c), mask))
        for c in (context, changed)
    ]
    np.testing.assert_array_equal(*outputs)
    changed[:, 0] += 1.0
    other = to_numpy(layer(x, layer.project_context(changed), mask))
    assert np.abs(other - outputs[0]).max() > 1e-2
