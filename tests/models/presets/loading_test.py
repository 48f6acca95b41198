import json
import math
import os
import pathlib
import shutil

import keras
import keras_hub
import numpy as np
import pytest

from keras_muse import MiniLMTextEncoder
from keras_muse import MuseBase
from keras_muse import MuseSuperRes
from keras_muse import VQGANTokenizer
from keras_muse.models import TextEncoder
from tests.helpers import tiny
from tests.helpers.tiny_muse import tiny_text_encoder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("preset") / "base"
    tiny.tiny_base().save_to_preset(str(directory))
    return str(directory)


@pytest.fixture
def preset(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "base")


def logits(model, **changes):
    return tiny.to_numpy(model({**tiny.tiny_data(model), **changes}))


MODELS = [tiny.tiny_base, tiny.tiny_super_res, tiny.tiny_tokenizer]


@pytest.mark.parametrize("make", MODELS)
def test_round_trip(make, tmp_path):
    model = make()
    model.save_to_preset(str(tmp_path / "preset"))
    loaded = type(model).from_preset(str(tmp_path / "preset"))
    assert loaded.get_config() == model.get_config()
    for a, b in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(tiny.to_numpy(a), tiny.to_numpy(b))
    files = {"config.json", "metadata.json", "model.weights.h5"}
    assert set(os.listdir(tmp_path / "preset")) == files


def test_sharded_weights(tmp_path):
    model = tiny.tiny_base()
    model.save_to_preset(str(tmp_path), max_shard_size=1e-5)  # 10 kB
    shards = [name for name in os.listdir(tmp_path) if "_0000" in name]
    assert len(shards) > 1
    loaded = MuseBase.from_preset(str(tmp_path))
    np.testing.assert_array_equal(logits(loaded), logits(model))


def test_optimizer_and_losses_stay_behind(tmp_path):
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.compile(perceptual=None, discriminator=tiny.tiny_discriminator())
    attached = len(tokenizer.weights)
    tokenizer.save_to_preset(str(tmp_path / "preset"))
    loaded = VQGANTokenizer.from_preset(str(tmp_path / "preset"))
    assert loaded.tokenizer_loss is None
    assert len(loaded.weights) == len(tiny.tiny_tokenizer().weights) < attached
    np.testing.assert_array_equal(
        loaded.encode(tiny.tiny_images()), tokenizer.encode(tiny.tiny_images())
    )


def test_a_trained_model_leaves_its_optimizer_behind(tmp_path):
    model = tiny.tiny_base()
    model.save_to_preset(str(tmp_path / "before"))
    model.compile()
    model.fit(tiny.tiny_data(model), verbose=0)
    optimizer = model.optimizer
    model.save_to_preset(str(tmp_path / "after"))
    assert model.optimizer is optimizer
    sizes = [
        os.path.getsize(tmp_path / name / "model.weights.h5")
        for name in ("before", "after")
    ]
    assert sizes[0] == sizes[1]
    model.fit(tiny.tiny_data(model), verbose=0)  # goes on


def test_arguments_override_the_configuration(saved):
    loaded = MuseBase.from_preset(saved, dtype="mixed_bfloat16", name="mine")
    assert loaded.compute_dtype == "bfloat16" and loaded.name == "mine"


def test_without_weights_it_is_random(saved):
    fresh = MuseBase.from_preset(saved, load_weights=False)
    assert fresh.hidden_dim == tiny.tiny_base().hidden_dim
    young, old = (
        tiny.to_numpy(model.token_embedding.codes.embeddings).ravel()
        for model in (fresh, MuseBase.from_preset(saved))
    )
    assert young.std() == pytest.approx(0.88, rel=0.1)
    assert not np.isin(young, old).any()


def test_a_functional_backbone_before_changes_nothing(saved):
    """Keras makes `Backbone` functional with the first text encoder."""
    before = MuseBase.from_preset(saved)
    tiny_text_encoder()
    after = MuseBase.from_preset(saved)
    assert isinstance(after, keras.Model)
    assert len(after.layers) == len(before.layers)
    np.testing.assert_array_equal(logits(after), logits(before))


# === What cannot be loaded ===


def test_another_class(saved):
    for cls in (MuseSuperRes, VQGANTokenizer):
        with pytest.raises(
            ValueError, match=f"`MuseBase`, not a `{cls.__name__}"
        ):
            cls.from_preset(saved)
        with pytest.raises(ValueError, match="`MuseBase`, not a"):
            cls.from_preset(saved, codebook_size=5)


def test_not_a_preset(tmp_path):
    with pytest.raises(ValueError, match="config.json"):
        MuseBase.from_preset(str(tmp_path))
    with pytest.raises(ValueError, match="no_such_preset"):
        MuseBase.from_preset("no_such_preset")


def test_weights_are_missing(preset):
    os.remove(preset / "model.weights.h5")
    with pytest.raises(ValueError, match="model.weights.*Received: preset="):
        MuseBase.from_preset(str(preset))


@pytest.mark.parametrize("part_left", [0.0, 0.1, 0.5, 0.95])
def test_weights_are_cut_short(preset, part_left):
    path = preset / "model.weights.h5"
    os.truncate(path, int(os.path.getsize(path) * part_left))
    with pytest.raises(ValueError, match="Received: preset="):
        MuseBase.from_preset(str(preset))


def test_weights_of_other_shapes(preset):
    config = json.loads((preset / "config.json").read_text())
    config["config"]["hidden_dim"] = 8
    (preset / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="could not be loaded"):
        MuseBase.from_preset(str(preset))


def test_an_unknown_argument(saved):
    with pytest.raises((TypeError, ValueError), match="hidden_width"):
        MuseBase.from_preset(saved, hidden_width=8)


def test_nothing_is_written_after_an_error(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(
        keras_hub.src.utils.preset_utils.KerasPresetSaver,
        "_save_metadata",
        fail,
    )
    with pytest.raises(OSError, match="disk full"):
        tiny.tiny_base().save_to_preset(str(tmp_path / "preset"))
    assert os.listdir(tmp_path) == []


def test_an_option_that_does_not_exist_is_named(saved):
    with pytest.raises(ValueError, match="Received: sequence_lenght"):
        MuseBase.from_preset(saved, sequence_lenght=64)
    for cls in (MiniLMTextEncoder, TextEncoder):
        with pytest.raises(ValueError, match="Received: sequence_lenght"):
            cls.from_preset("all_minilm_l6_v2", sequence_lenght=64)
    encoder = TextEncoder.from_preset("all_minilm_l6_v2", sequence_length=9)
    assert encoder.sequence_length == 9


@pytest.mark.parametrize(
    "options, words",
    [
        ({"use_query_key_norm": False}, "`use_query_key_norm` would leave"),
        ({"num_layers": 1}, "`num_layers` would leave.*layer_1"),
        ({"use_gated_activation": False, "num_layers": 2}, "`use_gated_activ"),
    ],
)
def test_no_weight_of_a_preset_is_left_out_in_silence(options, words, tmp_path):
    model = tiny.tiny_base(use_query_key_norm=True, use_gated_activation=True)
    model.save_to_preset(str(tmp_path))
    with pytest.raises(ValueError, match=words):
        MuseBase.from_preset(str(tmp_path), **options)
    same = MuseBase.from_preset(str(tmp_path), num_layers=2, name="other")
    np.testing.assert_array_equal(logits(same), logits(model))
    fresh = MuseBase.from_preset(str(tmp_path), load_weights=False, **options)
    assert len(fresh.weights) < len(model.weights)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"hidden_dim": 32}, "`hidden_dim` would give .* another shape"),
        ({"num_layers": 3}, "`num_layers` would need .*layer_2"),
        ({"use_gated_activation": True}, "`use_gated_activation` would need"),
    ],
)
def test_the_argument_and_not_the_file_is_blamed(options, words, saved):
    with pytest.raises(ValueError, match=f"{words}.*Received: .*preset="):
        MuseBase.from_preset(saved, **options)


@pytest.mark.parametrize("size", ["10", math.nan, 0, -1, True, [10]])
def test_the_size_of_a_weight_file_is_checked(size, tmp_path):
    for model in (tiny.tiny_base(), tiny_text_encoder()):
        with pytest.raises(ValueError, match="`max_shard_size` must be"):
            model.save_to_preset(tmp_path / "preset", max_shard_size=size)
    assert not os.listdir(tmp_path)


def test_what_cannot_be_made_names_the_arguments_and_the_file(saved, tmp_path):
    with pytest.raises(ValueError, match="can be made with text_dim=6.0: `te"):
        MuseBase.from_preset(saved, text_dim=6.0)
    with pytest.raises(ValueError, match="made with sequence_length=600: `se"):
        TextEncoder.from_preset("all_minilm_l6_v2", sequence_length=600)
    tiny_text_encoder().save_to_preset(tmp_path)
    with pytest.raises(ValueError, match="made with sequence_length=600: `se"):
        TextEncoder.from_preset(tmp_path, sequence_length=600)


def test_a_configuration_without_a_grid_is_blamed(preset):
    config = json.loads((preset / "config.json").read_text())
    config["config"]["grid_size"] = None
    (preset / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="config.json` describes no model"):
        MuseBase.from_preset(str(preset), grid_size=(4, 4))


def test_a_preset_that_does_not_exist_has_its_alternatives(saved):
    with pytest.raises(ValueError, match="'muse_base_tiny'.*Received: preset"):
        MuseBase.from_preset("muse_base_tinyy")
    with pytest.raises(ValueError, match="'all_minilm_l6_v2'.*Received: pres"):
        TextEncoder.from_preset("all_minilm")


@pytest.mark.parametrize("cls", [MuseBase, VQGANTokenizer, TextEncoder])
def test_what_is_no_preset_is_told_why(cls, saved, tmp_path):
    for place, words in (
        (tmp_path, "is a directory without a config.json"),
        (f"{saved}/config.json", "is a file, and must be a directory"),
    ):
        with pytest.raises(ValueError, match=f"{words}.*Received: preset="):
            cls.from_preset(place)
    if cls is VQGANTokenizer:
        (tmp_path / "last.ckpt").write_bytes(b"")
        with pytest.raises(ValueError, match="`.ckpt` with its YAML"):
            cls.from_preset(tmp_path / "last.ckpt")


def test_a_preset_may_be_a_path(saved):
    loaded = MuseBase.from_preset(pathlib.Path(saved))
    np.testing.assert_array_equal(logits(loaded), logits(tiny.tiny_base()))
    for wrong in (None, 5, ""):
        with pytest.raises(ValueError, match="`preset` must be"):
            MuseBase.from_preset(wrong)


def test_a_grid_that_is_none_is_named(saved):
    with pytest.raises(ValueError, match="`grid_size`.*grid_size=8"):
        MuseBase.from_preset(saved, grid_size=8)
    same = MuseBase.from_preset(saved, grid_size=np.array([4, 4]))
    np.testing.assert_array_equal(logits(same), logits(tiny.tiny_base()))
