import keras
import numpy as np
import pytest

from keras_muse.layers.layer_stack import LayerStack
from tests.helpers.tiny import to_numpy


class Stack(LayerStack):
    """All levels at one resolution, and the middle."""

    def _make_stages(self):
        levels = range(len(self.channel_multipliers))
        stages = [stage for level in levels for stage in self._level(level)]
        return [*stages, *self._middle()]


def make(**changes):
    config = {
        "base_channels": 4,
        "channel_multipliers": (1, 2),
        "num_res_blocks": 2,
        "num_groups": 2,
        "use_bias": True,
        "attention_levels": (1,),
        "use_middle_attention": True,
        "latent_dim": None,
    }
    keras.utils.set_random_seed(0)
    return Stack(**{**config, **changes})


def test_levels_have_blocks_and_those_of_attention_too():
    stack = make()
    stack.build((None, 4, 4, 4))
    assert [stage.name for stage in stack.stages] == [
        *("level_0_block_0", "level_0_block_1"),
        *("level_1_block_0", "level_1_attention_0"),
        *("level_1_block_1", "level_1_attention_1"),
        *("middle_block_0", "middle_attention", "middle_block_1"),
    ]
    assert stack.output_shape == (None, 4, 4, 8)
    stack = make(attention_levels=(), use_middle_attention=False)
    stack.build((None, 4, 4, 4))
    assert not [x for x in stack.stages if "attention" in x.name]
    assert len(stack.stages) == 6


def test_each_layer_reads_what_the_one_before_gives():
    stack = make(
        channel_multipliers=(1,),
        num_res_blocks=1,
        attention_levels=(),
        use_middle_attention=False,
    )
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 4)).astype("float32")
    expected = x
    stack.build(x.shape)
    for stage in stack.stages:
        expected = stage(expected)
    np.testing.assert_array_equal(to_numpy(stack(x)), to_numpy(expected))


def test_attention_is_on_levels_that_are_there():
    for levels in ((2,), (-1,), (0, 5)):
        with pytest.raises(ValueError, match="`attention_levels` must be ind"):
            make(attention_levels=levels)


def test_config_round_trip():
    stack = make(latent_dim=3, attention_levels=[0])
    config = stack.get_config()
    assert Stack.from_config(config).get_config() == config
    assert config["attention_levels"] == (0,) and config["latent_dim"] == 3
