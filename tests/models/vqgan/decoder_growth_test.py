"""A larger decoder paints as the smaller one did, and then better."""

import keras
import numpy as np
import pytest

from tests.helpers.tiny import randomize
from tests.helpers.tiny import tiny_images
from tests.helpers.tiny import tiny_tokenizer
from tests.helpers.tiny import to_numpy

TOKEN_IDS = np.random.default_rng(0).integers(0, 16, (2, 4, 4))


def grown(num_res_blocks, base_channels, **config):
    tokenizer = tiny_tokenizer(**config)
    randomize(tokenizer.decoder)
    return tokenizer, tokenizer.finetune_decoder(num_res_blocks, base_channels)


@pytest.mark.parametrize(
    ("num_res_blocks", "base_channels", "config"),
    [
        (1, 16, {}),
        (3, 8, {}),
        (2, 24, {}),
        (2, 16, {"latent_dim": 6, "use_quant_conv": True, "use_bias": True}),
        (2, 8, {"decoder_base_channels": 4, "channel_multipliers": (1, 2, 4)}),
    ],
)
def test_pictures_are_those_of_before(num_res_blocks, base_channels, config):
    small, large = grown(num_res_blocks, base_channels, **config)
    assert large.decoder.count_params() > small.decoder.count_params()
    before, after = small.decode(TOKEN_IDS), large.decode(TOKEN_IDS)
    assert np.ptp(before) > 0.1
    np.testing.assert_allclose(after, before, atol=1e-4 * np.ptp(before))


@pytest.mark.parametrize(
    ("num_res_blocks", "base_channels", "config"),
    [
        (1, 12, {}),
        (1, 16, {"decoder_num_res_blocks": 2}),
        (2, 16, {"attention_levels": (0,)}),
        (2, 16, {"use_middle_attention": True}),
    ],
)
def test_what_cannot_grow_starts_afresh(num_res_blocks, base_channels, config):
    small, large = grown(num_res_blocks, base_channels, **config)
    before, after = small.decode(TOKEN_IDS), large.decode(TOKEN_IDS)
    assert np.abs(after - before).max() > 0.01 * np.ptp(before)


def test_training_tells_the_copies_of_a_channel_apart():
    _, large = grown(2, 16)
    block = large.decoder.stages[1]
    kernel = to_numpy(block.conv_1.kernel)  # (3, 3, inputs, outputs)
    first, second = (kernel[..., i::2].sum(axis=2) for i in (0, 1))
    np.testing.assert_allclose(first, second, atol=1e-5)
    large.compile(
        keras.optimizers.Adam(1e-2), perceptual=None, adversarial_weight=0
    )
    large.fit(tiny_images(4), epochs=4, verbose=0)
    kernel = to_numpy(block.conv_1.kernel)
    gaps = np.abs(kernel[..., 0::2].sum(2) - kernel[..., 1::2].sum(2))
    assert (gaps > 1e-4).mean() > 0.9
    new = large.decoder.stages[4]
    assert new.name == "level_2_block_1"
    assert (to_numpy(new.conv_2.kernel) != 0).mean() > 0.9
