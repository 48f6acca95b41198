import keras
import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import Attention

from keras_muse.layers.spatial_attention import SpatialAttention
from keras_muse.ops import attention
from tests.helpers.tiny import randomize
from tests.helpers.tiny import to_numpy

CHANNELS = 8


def make(**kwargs):
    layer = SpatialAttention(num_groups=4, **kwargs)
    layer.build((None, None, None, CHANNELS))
    randomize(layer)
    return layer


def images(*size):
    x = np.random.default_rng(0).standard_normal((2, *size, CHANNELS))
    return x.astype("float32")


def theirs(layer):
    """The attention block of diffusers with the weights of a layer."""
    block = Attention(
        CHANNELS,
        heads=1,
        dim_head=CHANNELS,
        eps=1e-6,
        norm_num_groups=4,
        residual_connection=True,
        bias=True,
    )
    sources = {
        "group_norm": (layer.norm.gamma, layer.norm.beta),
        "to_q": (layer.query.kernel, layer.query.bias),
        "to_k": (layer.key.kernel, layer.key.bias),
        "to_v": (layer.value.kernel, layer.value.bias),
        "to_out.0": (
            layer.attention_output.kernel,
            layer.attention_output.bias,
        ),
    }
    tensors = {}
    for name, (weight, bias) in sources.items():
        tensors[f"{name}.weight"] = torch.tensor(to_numpy(weight).T)
        tensors[f"{name}.bias"] = torch.tensor(to_numpy(bias))
    block.load_state_dict(tensors)
    return block


@pytest.mark.parametrize("size", [(4, 4), (3, 5)])
def test_equals_diffusers(size):
    layer, x = make(), images(*size)
    with torch.no_grad():
        expected = theirs(layer)(torch.tensor(x).permute(0, 3, 1, 2))
    np.testing.assert_allclose(
        to_numpy(layer(x)), expected.permute(0, 2, 3, 1).numpy(), atol=1e-4
    )


def test_parts_of_large_pictures_are_the_whole(monkeypatch):
    layer, x = make(), images(4, 6)
    whole = to_numpy(layer(x))
    monkeypatch.setattr(attention, "MAX_SCORES", 100)
    np.testing.assert_allclose(to_numpy(layer(x)), whole, atol=1e-5)


def test_a_position_reaches_all_others():
    layer, x = make(), images(4, 4)
    changed = x.copy()
    changed[:, 0, 0] += 1
    moved = to_numpy(layer(changed)) - to_numpy(layer(x))
    assert (abs(moved).max(axis=(0, 3)) > 1e-4).all()


def test_lora_and_quantization_find_its_layers():
    layer = make()
    names = {
        inner.name: inner
        for inner in layer._flatten_layers(include_self=False)
        if isinstance(inner, keras.layers.Dense)
    }
    assert set(names) == {"query", "key", "value", "attention_output"}


def test_config_round_trip():
    layer = make()
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()
    assert layer.compute_output_shape((1, 4, 6, 8)) == (1, 4, 6, 8)


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="known elsewhere"
)
def test_the_size_of_pictures_may_be_known_later():
    """As TensorFlow traces a dataset of pictures of any size."""
    import tensorflow as tf

    layer, x = make(), images(3, 5)
    signature = [tf.TensorSpec((None, None, None, CHANNELS), "float32")]
    traced = tf.function(layer, input_signature=signature)
    np.testing.assert_allclose(
        to_numpy(traced(x)), to_numpy(layer(x)), atol=1e-5
    )
