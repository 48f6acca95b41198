import keras
import numpy as np
import pytest

from keras_muse.layers import ResnetBlock
from keras_muse.layers import VQGANEncoder
from tests.helpers.tiny import to_numpy

CONFIG = {
    "base_channels": 8,
    "channel_multipliers": (1, 2, 2),
    "num_res_blocks": 2,
    "output_channels": 5,
    "num_groups": 4,
    "use_bias": False,
    "downsampling": "avg_pool",
}


def make(**changes):
    layer = VQGANEncoder(**{**CONFIG, **changes})
    layer.build((None, None, None, 3))
    return layer


@pytest.mark.parametrize("downsampling", ["avg_pool", "conv"])
@pytest.mark.parametrize("size", [(8, 8), (4, 12)])
def test_halves_between_levels(downsampling, size):
    images = np.zeros((2, *size, 3), "float32")
    latents = make(downsampling=downsampling)(images)
    assert latents.shape == (2, size[0] // 4, size[1] // 4, 5)


def test_blocks_of_each_level_have_its_channels():
    blocks = [s for s in make().stages if isinstance(s, ResnetBlock)]
    # Two a level, and two in the middle.
    assert [b.channels for b in blocks] == [8, 8, 16, 16, 16, 16, 16, 16]


def test_downsampling_has_weights_only_as_a_convolution():
    has_weights = {
        kind: any(
            "downsample" in w.path for w in make(downsampling=kind).weights
        )
        for kind in ("avg_pool", "conv")
    }
    assert has_weights == {"avg_pool": False, "conv": True}


def test_bias_is_a_choice():
    assert len(make(use_bias=True).weights) > len(make().weights)


def test_a_pixel_reaches_only_its_surroundings():
    """Convolutional: no attention carries it over the whole picture."""
    encoder = VQGANEncoder(
        **{**CONFIG, "num_res_blocks": 1, "channel_multipliers": (1, 1)}
    )
    encoder.build((None, None, None, 3))
    # Group normalization looks at all pixels; without it the rest is local.
    for layer in encoder._flatten_layers():
        if isinstance(layer, keras.layers.GroupNormalization):
            layer.call = lambda x: x
    images = np.random.default_rng(0).uniform(-1, 1, (1, 64, 8, 3))
    images = images.astype("float32")
    changed = images.copy()
    changed[:, 0] += 0.5
    moved = to_numpy(encoder(changed)) != to_numpy(encoder(images))
    rows = moved.any(axis=(0, 2, 3))
    assert rows[0] and not rows[20:].any()


def test_config_round_trip():
    layer = make(downsampling="conv", use_bias=True)
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()


def test_unknown_downsampling_raises():
    with pytest.raises(ValueError, match="Received: downsampling='max_pool'"):
        make(downsampling="max_pool")
