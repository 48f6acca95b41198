import keras
import numpy as np

from keras_muse.layers import ResnetBlock
from keras_muse.layers import VQGANDecoder
from tests.helpers.tiny import to_numpy

CONFIG = {
    "base_channels": 8,
    "channel_multipliers": (1, 2, 4),
    "num_res_blocks": 1,
    "num_groups": 4,
    "use_bias": False,
}


def make(**changes):
    layer = VQGANDecoder(**{**CONFIG, **changes})
    layer.build((None, None, None, 5))
    return layer


def test_doubles_between_levels():
    images = make()(np.zeros((2, 3, 2, 5), "float32"))
    assert images.shape == (2, 12, 8, 3)


def test_mirrors_the_encoder():
    blocks = [s for s in make().stages if isinstance(s, ResnetBlock)]
    assert [b.channels for b in blocks] == [32, 32, 32, 16, 8]


def test_pixels_are_float32_under_mixed_precision():
    decoder = make(dtype="mixed_bfloat16")
    assert decoder.stages[1].compute_dtype == "bfloat16"
    latents = np.random.default_rng(0).standard_normal((1, 2, 2, 5))
    images = decoder(latents)
    assert keras.backend.standardize_dtype(images.dtype) == "float32"
    # More than the 8 bits of bfloat16: its neighbours are 1 / 128 apart.
    images = to_numpy(images)
    rounded = to_numpy(
        keras.ops.cast(keras.ops.cast(images, "bfloat16"), "float32")
    )
    assert (images != rounded).mean() > 0.9


def test_config_round_trip():
    layer = make(use_bias=True)
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()
