import types

import pytest

from keras_muse.converters.vqgan_layers import check_settings
from keras_muse.converters.vqgan_layers import published_layers

NAMES = {
    "block": "up.{reversed}.block.{block}",
    "attention": "up.{level}.attn.{block}",
    "resample": "up.{level}.sample.conv",
    "middle_attention": "mid.attn",
}


class Stage:
    """A stage of an encoder or decoder, with what it has inside."""

    def __init__(self, name, weights=1, **inner):
        self.name, self.weights = name, [0] * weights
        self.__dict__.update(inner)


def part(*stages):
    return types.SimpleNamespace(channel_multipliers=(1, 2, 2), stages=stages)


@pytest.mark.parametrize(
    "ours, theirs",
    [
        # By some the levels are counted from the other end.
        ("level_0_block_1", "up.2.block.1"),
        ("level_2_attention_0", "up.2.attn.0"),
        ("middle_attention", "mid.attn"),
        ("upsample_1_conv", "up.1.sample.conv"),
        # Theirs ends the level before.
        ("downsample_1", "up.0.sample.conv"),
    ],
)
def test_each_stage_has_their_name(ours, theirs):
    stage = Stage(ours)
    weightless = Stage(f"{ours}_activation", weights=0)
    found = published_layers(part(weightless, stage), NAMES, {})
    assert found == {theirs: stage}


def test_layers_inside_of_blocks_have_names_of_their_own():
    inner = {"norm_1": "norm1", "shortcut": "nin_shortcut"}
    wide = Stage("level_1_block_0", norm_1="a", shortcut="b")
    plain = Stage("level_2_block_0", norm_1="c", shortcut=None)
    other = Stage("middle_attention")
    assert published_layers(part(wide, plain, other), NAMES, inner) == {
        "up.1.block.0.norm1": "a",
        "up.1.block.0.nin_shortcut": "b",
        "up.0.block.0.norm1": "c",
        "mid.attn": other,
    }


def test_settings_without_a_place_are_refused():
    config = {"act": "swish", "tanh_out": False}
    check_settings(config, act="swish", tanh_out=False, dropout=0.0)
    with pytest.raises(ValueError, match="`act` must be 'relu'.*act='swish'"):
        check_settings(config, act="relu")
