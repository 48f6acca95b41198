import keras
import numpy as np
import pytest

import keras_muse
from keras_muse.models.presets import frozen_layers
from tests.helpers import tiny
from tests.helpers.tiny import to_numpy


@pytest.fixture(scope="module")
def base():
    model = tiny.tiny_base(num_layers=1)
    model.token_embedding.trainable = False
    model.transformer_layers[0].trainable = False
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(tiny.tiny_data(model, 8), verbose=0)
    return model


def trained_paths(model):
    return [v.path for v in model.trainable_variables]


def test_what_is_inside_is_not_named(base):
    assert frozen_layers.describe(base) == ["token_embedding", "layer_0"]
    assert "frozen" not in tiny.tiny_base(num_layers=1).get_config()


def test_a_file_trains_on_as_if_never_saved(base, tmp_path):
    base.save(tmp_path / "base.keras")
    loaded = keras.saving.load_model(tmp_path / "base.keras")
    assert trained_paths(loaded) == trained_paths(base)
    assert len(trained_paths(base)) < len(base.variables)
    for a, b in zip(
        base.optimizer.variables, loaded.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
    data = tiny.tiny_data(base, 8)
    losses = [
        model.fit(data, shuffle=False, verbose=0).history["loss"]
        for model in (base, loaded)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    base.save_to_preset(tmp_path / "preset")
    restored = keras_muse.MuseBase.from_preset(str(tmp_path / "preset"))
    assert trained_paths(restored) == trained_paths(base)
    # What starts afresh is to be trained.
    other = keras_muse.MuseBase.from_preset(
        str(tmp_path / "preset"), codebook_size=8
    )
    assert other.token_embedding.trainable


def test_low_rank_additions_freeze_no_merged_weights():
    model = tiny.tiny_base(num_layers=1)
    model.enable_lora(2)
    assert "frozen" not in model.get_config()


def test_a_tokenizer_with_a_frozen_encoder(tmp_path):
    tokenizer = tiny.tiny_tokenizer(channel_multipliers=(1, 1))
    tokenizer.encoder.trainable = False
    tokenizer.compile(adversarial_weight=0)  # with a frozen network beside
    tokenizer.save(tmp_path / "tokenizer.keras")
    loaded = keras.saving.load_model(tmp_path / "tokenizer.keras")
    assert trained_paths(loaded) == trained_paths(tokenizer)
    assert loaded.get_config()["frozen"] == ["encoder"]


@pytest.mark.parametrize("part", ["the whole", "decoder"])
def test_a_larger_decoder_of_a_frozen_tokenizer_is_trained(part):
    tokenizer = tiny.tiny_tokenizer(channel_multipliers=(1, 1))
    frozen = tokenizer if part == "the whole" else tokenizer.decoder
    frozen.trainable = False
    larger = tokenizer.finetune_decoder(num_res_blocks=1, base_channels=8)
    assert trained_paths(larger) == [
        v.path for v in larger.decoder.trainable_variables
    ]
    assert trained_paths(larger)


def test_what_freeze_tokens_froze_it_can_free_again(tmp_path):
    tokenizer = tiny.tiny_tokenizer(channel_multipliers=(1, 1))
    larger = tokenizer.finetune_decoder(num_res_blocks=1, base_channels=8)
    assert "frozen" not in larger.get_config()
    larger.save_to_preset(tmp_path / "larger")
    load = keras_muse.VQGANTokenizer.from_preset
    kept = load(str(tmp_path / "larger"))
    assert trained_paths(kept) == trained_paths(larger)
    freed = load(str(tmp_path / "larger"), freeze_tokens=False)
    assert freed.encoder.trainable and freed.quantizer.trainable
    larger.decoder.trainable = False
    assert larger.get_config()["frozen"] == ["decoder"]
