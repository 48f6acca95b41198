import keras
import numpy as np
import pytest

import keras_muse
from keras_muse.layers import FSQ
from tests.helpers.tiny import tiny_images
from tests.helpers.tiny import to_numpy

LEVELS = (8, 5, 4)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def test_rounds_what_the_bound_leaves_as_in_numpy():
    x = 2 * random(2, 4, 5, 3)
    outputs = keras.tree.map_structure(to_numpy, FSQ(LEVELS)(x))
    bounded = 2 / (1 + np.exp(-1.6 * x)) - 1
    levels = np.array(LEVELS)
    places = np.round((bounded + 1) / 2 * (levels - 1)).astype(int)
    np.testing.assert_allclose(
        outputs["quantized"], 2 * places / (levels - 1) - 1, atol=1e-6
    )
    ids = np.ravel_multi_index(
        tuple(np.moveaxis(places, -1, 0)), LEVELS, order="F"
    )
    np.testing.assert_array_equal(outputs["token_ids"], ids)
    assert outputs["token_ids"].dtype == "int32" and outputs["losses"] == {}


def test_lookup_is_the_inverse_of_all_ids():
    layer = FSQ(LEVELS)
    ids = np.arange(layer.codebook_size)
    codes = to_numpy(layer.lookup(ids))
    assert codes.shape == (8 * 5 * 4, 3) and np.abs(codes).max() == 1
    assert len(np.unique(codes, axis=0)) == layer.codebook_size
    # The bound's inverse; at its ends it is infinite.
    x = np.log((1 + codes * 0.999) / (1 - codes * 0.999)) / 1.6
    np.testing.assert_array_equal(to_numpy(layer(x)["token_ids"]), ids)


def test_normal_numbers_fill_the_levels_about_equally():
    ids = to_numpy(FSQ((17,))(random(100_000, 1))["token_ids"])
    parts = np.bincount(ids, minlength=17) / len(ids)
    # The two outer levels are half as wide as the others.
    assert parts[1:-1].min() > 0.7 / 16 and parts.max() < 1.3 / 16


def test_gradient_is_that_of_the_bound():
    class Pulled(keras.Model):
        def __init__(self):
            super().__init__()
            self.quantizer = FSQ(LEVELS)
            self.vectors = self.add_weight(shape=(4, 3), initializer="zeros")
            self.vectors.assign(random(4, 3))

        def call(self, x):
            return self.quantizer(self.vectors + 0 * x)["quantized"]

    model, before = Pulled(), random(4, 3)
    target = random(4, 3, seed=1)
    quantized = to_numpy(model(np.zeros((4, 3), "float32")))
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    model.fit(np.zeros((4, 3)), target, batch_size=4, shuffle=False, verbose=0)
    sigmoid = 1 / (1 + np.exp(-1.6 * before))
    slope = 3.2 * sigmoid * (1 - sigmoid)
    expected = before - 0.1 * 2 * (quantized - target) * slope / 12
    np.testing.assert_allclose(to_numpy(model.vectors), expected, atol=1e-5)


def tokenizer(**changes):
    config = {
        "base_channels": 8,
        "channel_multipliers": (1, 1, 2),
        "num_res_blocks": 1,
        "num_groups": 4,
    }
    keras.utils.set_random_seed(0)
    return keras_muse.VQGANTokenizer(**config, quantizer=FSQ(LEVELS), **changes)


def test_a_tokenizer_learns_with_it_and_comes_back(tmp_path):
    model, images = tokenizer(), tiny_images(8)
    assert (model.codebook_size, model.codebook_dim) == (160, 3)
    model.compile(
        keras.optimizers.Adam(1e-2), perceptual=None, adversarial_weight=0
    )
    history = model.fit(images, batch_size=8, epochs=15, verbose=0).history
    # It has no other term.
    assert history["loss"] == history["reconstruction_loss"]
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    assert 0 < history["codebook_usage"][-1] <= 1
    model.save_to_preset(str(tmp_path / "preset"))
    model.save(tmp_path / "model.keras")
    for loaded in (
        type(model).from_preset(str(tmp_path / "preset")),
        keras.saving.load_model(tmp_path / "model.keras"),
    ):
        assert loaded.quantizer.levels == LEVELS
        ids = model.encode(images)
        np.testing.assert_array_equal(loaded.encode(images), ids)
        np.testing.assert_allclose(
            loaded.decode(ids), model.decode(ids), atol=1e-5
        )
    assert loaded.quantizer.fingerprint() == model.quantizer.fingerprint()
    assert loaded.quantizer.fingerprint() != FSQ((4, 5, 8)).fingerprint()


def test_weights_of_losses_it_does_not_have_are_refused():
    with pytest.raises(ValueError, match="`entropy_weight`.*Received: a FSQ"):
        tokenizer().compile(entropy_weight=0.1)


def test_other_sizes_than_its_own_are_refused():
    with pytest.raises(ValueError, match="codebook_size.*160"):
        tokenizer(codebook_size=17)
    with pytest.raises(ValueError, match="`revival_steps`.*VectorQuantizer"):
        tokenizer(revival_steps=7)


def test_it_takes_the_place_of_the_quantizer_of_a_preset(tmp_path):
    load = keras_muse.VQGANTokenizer.from_preset
    named = load("vqgan_f4_tiny", load_weights=False, quantizer=FSQ(LEVELS))
    assert (named.codebook_size, named.codebook_dim) == (160, 3)
    with pytest.raises(ValueError, match="`codebook_size` must be left.*=17"):
        load(
            "vqgan_f4_tiny",
            load_weights=False,
            quantizer=FSQ(LEVELS),
            codebook_size=17,
        )
    preset = str(tmp_path / "preset")
    config = tokenizer().get_config()
    others = {"codebook_size": 16, "codebook_dim": 3, "revival_steps": 7}
    plain = keras_muse.VQGANTokenizer(**{**config, **others, "quantizer": None})
    plain.save_to_preset(preset)
    fresh = load(preset, load_weights=False, quantizer=FSQ(LEVELS))
    assert fresh.codebook_size == 160 and fresh.quantizer.levels == LEVELS
    # The second has as many codes, and as wide.
    for levels in (LEVELS, (4, 2, 2)):
        with pytest.raises(ValueError, match="`quantizer` must be.*: a FSQ"):
            load(preset, quantizer=FSQ(levels))


def test_with_its_weights_it_is_what_it_was(tmp_path):
    model, preset = tokenizer(), str(tmp_path / "preset")
    model.save_to_preset(preset)
    load, images = type(model).from_preset, tiny_images(2)
    given = keras.layers.serialize(FSQ(LEVELS))
    for same in (FSQ(LEVELS), given):
        ids = load(preset, quantizer=same).encode(images)
        np.testing.assert_array_equal(ids, model.encode(images))
    # As many codes, of which each means another vector.
    with pytest.raises(ValueError, match=r"`quantizer`.*\(5, 8, 4\)"):
        load(preset, quantizer=FSQ((5, 8, 4)))


@pytest.mark.parametrize("levels", [(), 8, (8, 1), (8, 2.5), (0,)])
def test_levels_must_be_two_or_more(levels):
    with pytest.raises(ValueError, match="`levels` must be.*Received: levels"):
        FSQ(levels)


def test_width_must_be_that_of_the_levels():
    with pytest.raises(ValueError, match=r"levels=\(8, 5, 4\)"):
        FSQ(LEVELS)(random(2, 4))


def test_more_codes_than_an_id_can_count_are_refused():
    with pytest.raises(ValueError, match="`levels` must make at most"):
        FSQ((2**16, 2**16))
