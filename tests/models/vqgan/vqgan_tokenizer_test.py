import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest

import keras_muse
from keras_muse.losses import LPIPS
from keras_muse.losses.tokenizer_loss import TokenizerLoss
from keras_muse.runtime.compiled import compile_function
from tests.helpers import tiny
from tests.helpers.tiny import randomize
from tests.helpers.tiny import tiny_discriminator
from tests.helpers.tiny import tiny_images
from tests.helpers.tiny import tiny_tokenizer
from tests.helpers.tiny import to_numpy

IMAGES = tiny_images()
NUM_STEPS = 60

# All that published VQGANs have and ours has not.
RELATIVE = {
    "attention_levels": (2,),
    "use_middle_attention": True,
    "use_quant_conv": True,
    "latent_dim": 6,
    "normalize_codes": True,
    "revival_steps": 0,
    "pixel_range": (0, 1),
}


def compile_gan(tokenizer, **kwargs):
    tokenizer.compile(
        keras.optimizers.Adam(3e-3),
        keras.optimizers.Adam(1e-3),
        perceptual=None,
        discriminator=tiny_discriminator(),
        adversarial_start=NUM_STEPS // 2,
        **kwargs,
    )


def smallest_tokenizer(**changes):
    """For what compiles a training step of its own."""
    return tiny_tokenizer(
        base_channels=4, channel_multipliers=(1,), num_groups=2, **changes
    )


@pytest.fixture(scope="module")
def trained():
    """A tokenizer after some epochs of all but the perceptual loss."""
    tokenizer = tiny_tokenizer()
    # Compiled before: `encode` and `decode` must follow the training.
    tokenizer.decode(tokenizer.encode(IMAGES))
    compile_gan(tokenizer)
    tokenizer.history_of_fit = tokenizer.fit(
        IMAGES, batch_size=4, epochs=NUM_STEPS // 2, verbose=0
    ).history
    return tokenizer


# === Pictures to tokens and back ===


def test_learns(trained):
    losses = trained.history_of_fit["reconstruction_loss"]
    assert losses[-1] < 0.3 * losses[0]
    error = np.square(trained.predict(IMAGES, verbose=0) - floats()).mean()
    assert error < 0.5 * floats().var()


def floats(images=IMAGES):
    return (images / 127.5 - 1).astype("float32")


def test_decode_of_encode_is_predict(trained):
    token_ids = trained.encode(IMAGES)
    assert token_ids.shape == (8, 4, 4) and token_ids.dtype == "int32"
    assert token_ids.min() >= 0 and token_ids.max() < 16
    restored = trained.decode(token_ids)
    assert restored.dtype == "float32"
    np.testing.assert_allclose(
        restored, trained.predict(IMAGES, verbose=0), atol=1e-4
    )
    np.testing.assert_allclose(restored, to_numpy(trained(IMAGES)), atol=1e-4)


def test_uint8_and_floats_are_the_same_pictures(trained):
    np.testing.assert_array_equal(
        trained.encode(IMAGES), trained.encode(floats())
    )
    np.testing.assert_allclose(
        trained.predict(IMAGES, verbose=0),
        trained.predict(floats(), verbose=0),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        to_numpy(trained(IMAGES)), to_numpy(trained(floats())), atol=1e-5
    )
    losses = [
        trained.evaluate(x, verbose=0, return_dict=True)
        for x in (IMAGES, floats())
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_any_size_that_its_factor_divides(trained):
    images = tiny_images(8, (8, 20))
    token_ids = trained.encode(images)
    assert token_ids.shape == (8, 2, 5)
    restored = trained.decode(token_ids)
    assert restored.shape == (8, 8, 20, 3)
    np.testing.assert_allclose(restored, to_numpy(trained(images)), atol=1e-4)


def test_a_picture_is_the_same_in_any_batch(trained):
    together = trained.encode(IMAGES)
    np.testing.assert_array_equal(trained.encode(IMAGES[2:3]), together[2:3])
    np.testing.assert_array_equal(
        trained.encode(IMAGES, batch_size=3), together
    )
    np.testing.assert_allclose(
        trained.decode(together, batch_size=3),
        trained.decode(together),
        atol=1e-5,
    )


def test_factor():
    assert tiny_tokenizer().downsampling_factor == 4
    other = tiny_tokenizer(channel_multipliers=(1, 2))
    assert other.downsampling_factor == 2
    assert other.encode(IMAGES[:1]).shape == (1, 8, 8)


@pytest.mark.parametrize(
    "images, message",
    [
        (IMAGES[0], r"must be of shape .*\(16, 16, 3\)"),
        (IMAGES[..., :1], r"must be of shape .*\(8, 16, 16, 1\)"),
        (IMAGES[:, :15], r"divisible by .* 4. .*\(8, 15, 16, 3\)"),
        (IMAGES[:, :, :6], r"divisible by .* 4. .*\(8, 16, 6, 3\)"),
        (IMAGES[:0], r"`images` must .*not empty.*\(0, 16, 16, 3\)"),
    ],
)
def test_pictures_that_do_not_fit_raise(trained, images, message):
    with pytest.raises(ValueError, match=message):
        trained.encode(images)
    if len(images):
        with pytest.raises(ValueError, match=message):
            trained(images)


FLOAT_PIXELS = IMAGES.astype("float32")  # in [0, 255], as Keras' loader has


class FloatPixels(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return FLOAT_PIXELS


def float_pixels_dataset():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensors(FLOAT_PIXELS)


def float_pixels_loader():
    torch = pytest.importorskip("torch")
    rows = torch.utils.data.TensorDataset(torch.tensor(FLOAT_PIXELS))
    return torch.utils.data.DataLoader(rows, batch_size=2)


@pytest.mark.parametrize(
    "pictures",
    [
        lambda: FLOAT_PIXELS,
        FloatPixels,
        float_pixels_dataset,
        float_pixels_loader,
    ],
    ids=["array", "PyDataset", "tf.data", "DataLoader"],
)
@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict"])
def test_floats_that_are_pixels_are_refused(trained, pictures, verb):
    with pytest.raises(ValueError, match=r"`x` must be floats in \[-1, 1\]"):
        getattr(trained, verb)(pictures())


def test_other_values_than_pictures_have_no_tokens(trained):
    for images in (FLOAT_PIXELS, IMAGES.astype("int32") - 256):
        for use in (trained.encode, trained):
            with pytest.raises(ValueError, match="`images` must be floats in"):
                use(images)
    nan = np.zeros_like(FLOAT_PIXELS)
    nan[1, 0, 0, 0] = np.nan
    for use in (trained.encode, trained):
        with pytest.raises(ValueError, match="must be numbers.*1 of 8"):
            use(nan)


@pytest.mark.parametrize(
    "token_ids, message",
    [
        (np.zeros((1, 4), int), r"must be of shape .*\(1, 4\)"),
        (np.zeros((0, 4, 4), int), r"must not be empty.*\(0, 4, 4\)"),
        (np.full((1, 2, 2), 16), "= 16.. Received: values from 16 to 16"),
        (np.full((1, 2, 2), -1), "values from -1 to -1"),
        (np.full((1, 2, 2), 0.5), "must be integers.*float64"),
    ],
)
def test_tokens_that_do_not_fit_raise(trained, token_ids, message):
    with pytest.raises(ValueError, match=message):
        trained.decode(token_ids)


# === Training ===


def test_every_step_counts_once(trained):
    """State that is assigned in the loss is kept, on JAX too."""
    assert int(trained.quantizer.num_updates) == NUM_STEPS
    assert int(trained.tokenizer_loss.adversarial.num_steps) == NUM_STEPS
    assert float(trained.tokenizer_loss.adversarial.mean_fake) != 0


def test_reports_each_loss_and_the_codebook(trained):
    assert set(trained.history_of_fit) == {
        "loss",
        "reconstruction_loss",
        "adversarial_loss",
        "discriminator_loss",
        "commitment_loss",
        "entropy_loss",
        "codebook_usage",
        "codebook_perplexity",
    }
    usage = trained.history_of_fit["codebook_usage"][-1]
    used = len(np.unique(trained.encode(IMAGES)))
    assert 0 < usage <= 1 and abs(usage - used / 16) < 0.2
    perplexity = trained.history_of_fit["codebook_perplexity"][-1]
    assert 1 < perplexity <= 16 * usage + 1e-3


def test_adversarial_losses_start_late(trained):
    losses = trained.history_of_fit["discriminator_loss"]
    # Two steps per epoch, and the first half of the steps without.
    assert losses[: NUM_STEPS // 4] == [0] * (NUM_STEPS // 4)
    assert min(losses[NUM_STEPS // 4 :]) > 0


def test_evaluation_moves_nothing_and_repeats(trained):
    before = [to_numpy(v) for v in trained.variables]
    first = trained.evaluate(IMAGES, verbose=0, return_dict=True)
    second = trained.evaluate(IMAGES, verbose=0, return_dict=True)
    assert first == second
    for variable, expected in zip(trained.variables, before, strict=True):
        np.testing.assert_array_equal(to_numpy(variable), expected)


def test_fit_takes_datasets_and_validation_data():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return IMAGES[4 * index : 4 * index + 4]

    tokenizer = smallest_tokenizer()
    tokenizer.compile(perceptual=None, adversarial_weight=0)
    history = tokenizer.fit(
        Batches(), validation_data=IMAGES[:4], verbose=0
    ).history
    assert int(tokenizer.quantizer.num_updates) == 2
    assert history["val_reconstruction_loss"][0] > 0
    rows = list(IMAGES[:4])
    again = tokenizer.fit(rows, validation_data=rows, verbose=0).history
    assert again["val_loss"][0] == pytest.approx(
        tokenizer.evaluate(IMAGES[:4], verbose=0)[0]
    )


def losses(tokenizer, images=IMAGES):
    outputs = tokenizer.loss_inputs(images, training=False)
    terms = tokenizer.loss_terms(images, outputs, training=False)
    terms["loss"] = tokenizer.compute_loss(images, None, outputs)
    return {name: float(value) for name, value in terms.items()}


KNOBS = {
    "reconstruction": "l1",
    "perceptual": "alexnet",
    "adversarial_weight": 0.7,
    "adversarial_start": 1,
    "regularization": None,
    "regularization_weight": 3.0,
    "commitment_weight": 0.9,
    "entropy_weight": 0.0,
}


@pytest.fixture(scope="module")
def knobs_tokenizer():
    tokenizer = tiny_tokenizer()
    randomize(tokenizer, 0.1)
    return tokenizer


@pytest.fixture(scope="module")
def loud_discriminator():
    discriminator = tiny_discriminator()
    randomize(discriminator, 0.3)
    return discriminator


@pytest.mark.parametrize("knob", KNOBS)
def test_each_argument_of_compile_changes_the_loss(
    knobs_tokenizer, loud_discriminator, knob
):
    plain = {
        "perceptual": None,
        "adversarial_start": 0,
        "discriminator": loud_discriminator,
    }
    knobs_tokenizer.compile(**plain)
    before = losses(knobs_tokenizer)["loss"]
    knobs_tokenizer.compile(**{**plain, knob: KNOBS[knob]})
    after = losses(knobs_tokenizer)["loss"]
    assert abs(after - before) > 1e-4


def test_compiled_again_and_again_it_has_the_last_loss():
    """A new loss may lie in memory where an old one was."""
    tokenizer = smallest_tokenizer()
    for _ in range(50):
        tokenizer.compile(perceptual=None, adversarial_weight=0)
        losses = [
            layer
            for layer in tokenizer._flatten_layers(recursive=False)
            if isinstance(layer, TokenizerLoss)
        ]
        assert losses == [tokenizer.tokenizer_loss]


def test_perceptual_weight_and_network(knobs_tokenizer):
    images = tiny_images(2, 32)
    lpips = LPIPS()
    total = {}
    for weight in (0.0, 0.05, 1.0):
        knobs_tokenizer.compile(
            perceptual=lpips, perceptual_weight=weight, adversarial_weight=0
        )
        total[weight] = losses(knobs_tokenizer, images)
    distance = total[1.0]["perceptual_loss"]
    assert distance > 0.01 and "perceptual_loss" not in total[0.0]
    for weight in (0.05, 1.0):
        added = total[weight]["loss"] - total[0.0]["loss"]
        assert added == pytest.approx(weight * distance, rel=1e-3)


def test_defaults_are_the_papers():
    tokenizer = tiny_tokenizer()
    tokenizer.compile(discriminator=tiny_discriminator())
    assert tokenizer.tokenizer_loss.adversarial.start_step == 10_000
    assert tokenizer.tokenizer_loss.adversarial.regularization == "lecam"
    assert tokenizer.tokenizer_loss.perceptual.network == "alexnet"
    assert tokenizer.term_weights == {
        "reconstruction_loss": 1.0,
        "perceptual_loss": 0.05,
        "adversarial_loss": 0.1,
        "discriminator_loss": 1.0,
        "commitment_loss": 0.25,
        "entropy_loss": 0.1,
    }
    for optimizer in tokenizer.optimizer._inner_optimizers:
        config = optimizer.get_config()
        assert config["learning_rate"] == pytest.approx(1e-4)
        assert (config["beta_1"], config["beta_2"]) == (0.9, 0.99)
        assert config["weight_decay"] == 1e-4


def moved(model, before):
    return [
        (to_numpy(v) != b).any()
        for v, b in zip(model.trainable_variables, before, strict=True)
    ]


@pytest.mark.parametrize("still", ["tokenizer", "discriminator"])
def test_each_side_has_its_optimizer(still):
    tokenizer = smallest_tokenizer()
    discriminator = tiny_discriminator()
    rates = {"tokenizer": 0.1, "discriminator": 0.1, still: 0.0}
    tokenizer.compile(
        keras.optimizers.SGD(rates["tokenizer"]),
        keras.optimizers.SGD(rates["discriminator"]),
        perceptual=None,
        discriminator=discriminator,
        adversarial_start=0,
    )
    sides = {"tokenizer": tokenizer.encoder, "discriminator": discriminator}
    before = {
        name: [to_numpy(v) for v in side.trainable_variables]
        for name, side in sides.items()
    }
    tokenizer.train_on_batch(IMAGES[:2])
    for name, side in sides.items():
        assert any(moved(side, before[name])) == (name != still)


def test_any_model_of_pictures_can_be_the_discriminator():
    """With its own optimizer, however its variables are called."""
    critic = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(4, 4, strides=4),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(1, 1),
        ]
    )
    tokenizer = smallest_tokenizer()
    tokenizer.compile(
        keras.optimizers.SGD(0.1),
        keras.optimizers.SGD(0.0),
        perceptual=None,
        discriminator=critic,
        adversarial_start=0,
    )
    before = [to_numpy(v) for v in critic.trainable_variables]
    tokenizer.train_on_batch(IMAGES[:2])
    assert not any(moved(critic, before))


def discriminators_in(tokenizer):
    return [
        layer
        for layer in tokenizer._flatten_layers()
        if isinstance(layer, keras_muse.Discriminator)
    ]


def test_compiling_again_leaves_one_discriminator():
    tokenizer = tiny_tokenizer()
    without = len(tokenizer.variables)
    compile_gan(tokenizer)
    compiled = len(tokenizer.variables)
    compile_gan(tokenizer)
    assert len(discriminators_in(tokenizer)) == 1
    assert len(tokenizer.variables) == compiled
    tokenizer.compile(perceptual=None, adversarial_weight=0)
    assert discriminators_in(tokenizer) == []
    assert len(tokenizer.variables) == without


def test_compiling_leaves_the_tokenizer_as_it_is(trained):
    tokenizer = trained._copy()
    before = tokenizer.encode(IMAGES)
    compile_gan(tokenizer)
    np.testing.assert_array_equal(tokenizer.encode(IMAGES), before)
    np.testing.assert_array_equal(trained.encode(IMAGES), before)


def test_nan_guard_names_the_guilty_loss():
    tokenizer = smallest_tokenizer()
    critic = tiny_discriminator()
    weight = critic.trainable_variables[-1]
    weight.assign(np.full(weight.shape, np.nan))
    tokenizer.compile(
        perceptual=None,
        discriminator=critic,
        adversarial_start=0,
    )
    with pytest.raises(RuntimeError) as error:
        tokenizer.fit(IMAGES[:4], verbose=0)
    message = str(error.value)
    assert "adversarial_loss=nan" in message
    assert "discriminator_loss=nan" in message
    assert "reconstruction_loss=" not in message


def test_a_broken_batch_is_not_saved():
    class Saver(keras.callbacks.Callback):
        saved = 0

        def on_train_batch_end(self, batch, logs=None):
            self.saved += 1

    tokenizer, saver = smallest_tokenizer(), Saver()
    tokenizer.compile(perceptual=None, adversarial_weight=0)
    images = np.full((2, *IMAGES.shape[1:]), np.nan, "float32")
    with pytest.raises(RuntimeError, match="Not a finite loss"):
        tokenizer.fit(images, callbacks=saver, verbose=0)
    assert saver.saved == 0


def test_an_empty_fit_raises():
    tokenizer = tiny_tokenizer()
    tokenizer.compile(perceptual=None, adversarial_weight=0)
    with pytest.raises(ValueError, match="`x` must not be empty"):
        tokenizer.fit(IMAGES[:0])


@pytest.mark.parametrize(
    "arguments",
    [
        {"reconstruction": "huber"},
        {"regularization": "r2"},
        {"perceptual": "resnet"},
        {"adversarial_wieght": 1},
    ],
)
def test_unusable_arguments_of_compile_raise(arguments):
    with pytest.raises((ValueError, TypeError)):
        tiny_tokenizer().compile(**arguments)


@pytest.mark.parametrize(
    "off, argument, value",
    [
        ("adversarial_weight=0", "discriminator", tiny_discriminator()),
        ("adversarial_weight=0", "discriminator_optimizer", "adam"),
        ("adversarial_weight=0", "regularization_weight", 3.0),
        ("regularization=None", "regularization_weight", 3.0),
        ("perceptual=None", "perceptual_weight", 0.0),
    ],
)
def test_arguments_that_would_do_nothing_are_refused(
    knobs_tokenizer, off, argument, value
):
    name, _, _ = off.partition("=")
    options = {name: 0 if off.endswith("0") else None, argument: value}
    with pytest.raises(ValueError, match=f"`{argument}` is of use.*{off}"):
        knobs_tokenizer.compile(**{"perceptual": None, **options})


def test_an_unknown_regularization_is_refused_without_a_critic(
    knobs_tokenizer,
):
    with pytest.raises(ValueError, match="`regularization` must be one of"):
        knobs_tokenizer.compile(adversarial_weight=0, regularization="r2")


@pytest.mark.parametrize("value", [5, "resnet", lambda a, b: 0.0])
def test_a_perceptual_loss_is_known_by_name_or_a_layer(knobs_tokenizer, value):
    with pytest.raises(ValueError, match="`perceptual` must be one of"):
        knobs_tokenizer.compile(perceptual=value)


@pytest.mark.parametrize("name", ["optimizer", "discriminator_optimizer"])
def test_an_optimizer_beside_a_critic_is_a_plain_one(knobs_tokenizer, name):
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    with pytest.raises(ValueError, match=f"`{name}` must be a plain"):
        knobs_tokenizer.compile(perceptual=None, **{name: scaled})


def test_a_larger_decoder_names_its_own_arguments(knobs_tokenizer):
    for name in ("num_res_blocks", "base_channels"):
        with pytest.raises(ValueError, match=f"^`{name}` must be.*'4'"):
            knobs_tokenizer.finetune_decoder(**{name: "4"})


def test_a_scaled_loss_moves_the_tokenizer_as_an_unscaled_one():
    moves = []
    for factor in (None, 128.0):
        tokenizer = smallest_tokenizer()
        before = to_numpy(tokenizer.encoder.trainable_variables[0])
        tokenizer.compile(
            keras.optimizers.SGD(0.1, loss_scale_factor=factor),
            keras.optimizers.SGD(0.1),
            perceptual=None,
            discriminator=tiny_discriminator(),
        )
        assert tokenizer.optimizer.loss_scale_factor == factor
        tokenizer.train_on_batch(IMAGES[:4])
        after = to_numpy(tokenizer.encoder.trainable_variables[0])
        moves.append(after - before)
    assert np.abs(moves[0]).max() > 1e-6
    np.testing.assert_allclose(moves[1], moves[0], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("scope", ["global", "own"])
def test_mixed_precision(scope):
    dtype = "mixed_bfloat16"
    if scope == "global":
        keras.config.set_dtype_policy(dtype)
        dtype = None
    tokenizer = smallest_tokenizer(dtype=dtype)
    assert tokenizer.encoder.stages[0].compute_dtype == "bfloat16"
    assert tokenizer.encoder.stages[0].variable_dtype == "float32"
    compile_gan(tokenizer)
    assert discriminators_in(tokenizer)[0].compute_dtype == (
        "bfloat16" if scope == "global" else "float32"
    )
    history = tokenizer.fit(IMAGES[:4], batch_size=2, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    restored = to_numpy(tokenizer(IMAGES[:2]))
    assert restored.dtype == "float32"

    full = smallest_tokenizer(dtype="float32")
    for part in ("encoder", "quantizer", "decoder"):
        weights = getattr(tokenizer, part).get_weights()
        getattr(full, part).set_weights(weights)
    token_ids = full.encode(IMAGES[:2])
    errors = np.abs(tokenizer.decode(token_ids) - full.decode(token_ids))
    # Pixels up to 3, of which bfloat16 keeps 8 bits in each layer.
    assert errors.mean() < 0.005 and errors.max() < 0.1


# === The larger decoder ===


def test_finetuning_leaves_the_tokens_bit_for_bit(trained):
    tokenizer = trained.finetune_decoder(num_res_blocks=2, base_channels=12)
    assert tokenizer.decoder_num_res_blocks == 2
    assert tokenizer.decoder.base_channels == 12
    frozen = [tokenizer.encoder, tokenizer.quantizer]
    before = [to_numpy(v) for part in frozen for v in part.variables]
    source = [
        to_numpy(v)
        for part in (trained.encoder, trained.quantizer)
        for v in part.variables
    ]
    tokenizer.compile(
        keras.optimizers.Adam(3e-3), perceptual=None, adversarial_weight=0
    )
    history = tokenizer.fit(IMAGES, epochs=6, verbose=0).history
    after = [to_numpy(v) for part in frozen for v in part.variables]
    for a, b, c in zip(before, after, source, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    np.testing.assert_array_equal(
        tokenizer.encode(IMAGES), trained.encode(IMAGES)
    )
    losses = history["reconstruction_loss"]
    assert losses[-1] < 0.9 * losses[0]


def test_what_was_finetuned_stays_frozen_when_it_is_loaded(trained, tmp_path):
    larger = trained.finetune_decoder(num_res_blocks=2, base_channels=12)
    larger.save_to_preset(str(tmp_path))
    loaded = keras_muse.VQGANTokenizer.from_preset(str(tmp_path))
    names = [v.path for v in loaded.trainable_variables]
    assert names == [v.path for v in larger.trainable_variables]
    assert names and all("decoder" in name for name in names)
    loaded.compile(
        keras.optimizers.Adam(3e-3), perceptual=None, adversarial_weight=0
    )
    loaded.fit(IMAGES, verbose=0)
    np.testing.assert_array_equal(loaded.encode(IMAGES), trained.encode(IMAGES))


def test_decoder_of_another_width():
    tokenizer = tiny_tokenizer(
        decoder_base_channels=12, decoder_num_res_blocks=2
    )
    copy = keras_muse.VQGANTokenizer.from_config(tokenizer.get_config())
    shapes = [v.shape for v in tokenizer.variables]
    assert [v.shape for v in copy.variables] == shapes
    assert tokenizer.encoder.base_channels == 8
    assert tokenizer.decoder.base_channels == 12


# === Saving ===


def keys_of(path):
    names = []
    with h5py.File(path) as file:
        file.visit(names.append)
    return " ".join(names)


TRAINING_ONLY = ("discriminator", "adversarial", "perceptual", "optimizer")


@pytest.fixture(scope="module")
def with_attachments(trained):
    """Compiled with all that there is, and with its optimizers built."""
    tokenizer = trained._copy()
    tokenizer.compile(discriminator=tiny_discriminator())
    tokenizer.optimizer.build(tokenizer.trainable_variables)
    return tokenizer


def test_keras_file_round_trip(trained, with_attachments, tmp_path):
    path = tmp_path / "tokenizer.keras"
    with_attachments.save(path)
    restored = keras.saving.load_model(path)
    assert restored.get_config() == trained.get_config()
    np.testing.assert_array_equal(
        restored.encode(IMAGES), trained.encode(IMAGES)
    )
    np.testing.assert_allclose(
        to_numpy(restored(IMAGES)), to_numpy(trained(IMAGES)), atol=1e-6
    )


def test_keras_file_has_no_training_parts(with_attachments, tmp_path):
    with_attachments.save(tmp_path / "tokenizer.keras")
    with zipfile.ZipFile(tmp_path / "tokenizer.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
        config = archive.read("config.json").decode()
    keys = keys_of(tmp_path / "model.weights.h5")
    assert "encoder" in keys and "quantizer" in keys and "decoder" in keys
    for name in TRAINING_ONLY:
        assert name not in keys and name not in config.lower()


def test_preset_round_trip_without_training_parts(
    trained, with_attachments, tmp_path
):
    preset = str(tmp_path / "preset")
    with_attachments.save_to_preset(preset)
    keys = keys_of(tmp_path / "preset" / "model.weights.h5")
    for name in TRAINING_ONLY:
        assert name not in keys
    restored = keras_muse.VQGANTokenizer.from_preset(preset)
    np.testing.assert_array_equal(
        restored.encode(IMAGES), trained.encode(IMAGES)
    )
    np.testing.assert_allclose(
        to_numpy(restored(IMAGES)), to_numpy(trained(IMAGES)), atol=1e-6
    )


def test_saving_does_not_disturb_training(with_attachments, tmp_path):
    before = len(with_attachments.variables)
    with_attachments.save(tmp_path / "tokenizer.keras")
    assert len(with_attachments.variables) == before
    assert with_attachments.tokenizer_loss is not None


def test_checkpoint_has_all_training_parts(trained, tmp_path):
    path = tmp_path / "training.weights.h5"
    trained.save_weights(path)
    keys = keys_of(path)
    for name in ("discriminator", "adversarial", "optimizer", "encoder"):
        assert name in keys
    restored = tiny_tokenizer()
    compile_gan(restored)
    randomize(restored)
    restored.optimizer.build(restored.trainable_variables)
    restored.load_weights(path)
    for part in ("variables", "optimizer.variables"):
        for expected, actual in zip(
            variables_of(trained, part),
            variables_of(restored, part),
            strict=True,
        ):
            np.testing.assert_array_equal(actual, expected)


def variables_of(model, part):
    for name in part.split("."):
        model = getattr(model, name)
    return [to_numpy(v) for v in model]


@pytest.mark.parametrize(
    "losses, missing",
    [
        ({"perceptual": None}, "the discriminator that"),
        ({"adversarial_weight": 0}, "the LPIPS that"),
        ({}, "the LPIPS and the discriminator that"),
    ],
)
def test_a_file_without_the_networks_of_the_losses_is_named(
    tmp_path, losses, missing
):
    path = tmp_path / "plain.weights.h5"
    plain = tiny_tokenizer()
    randomize(plain)
    plain.save_weights(path)
    if losses.get("adversarial_weight", 1):
        losses = {**losses, "discriminator": tiny_discriminator()}
    tokenizer = tiny_tokenizer(name="mine")
    tokenizer.compile(**losses)
    before = variables_of(tokenizer, "variables")
    words = f"before `compile`.*plain.weights.h5.*{missing} the .* 'mine'"
    with pytest.raises(ValueError, match=words):
        tokenizer.load_weights(path)
    for expected, actual in zip(
        before, variables_of(tokenizer, "variables"), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_the_networks_of_the_losses_are_left_in_a_file(trained, tmp_path):
    path = tmp_path / "training.weights.h5"
    trained.save_weights(path)
    tokenizer = tiny_tokenizer()
    tokenizer.compile(perceptual=None, adversarial_weight=0)
    tokenizer.load_weights(path)
    np.testing.assert_array_equal(
        tokenizer.encode(IMAGES), trained.encode(IMAGES)
    )


def test_checkpoint_with_the_perceptual_network(with_attachments, tmp_path):
    path = tmp_path / "training.weights.h5"
    with_attachments.save_weights(path)
    assert "perceptual" in keys_of(path)


@pytest.mark.parametrize(
    "changes", [{}, {"downsampling": "conv", "use_bias": True}, {**RELATIVE}]
)
def test_config_round_trip(changes):
    tokenizer = tiny_tokenizer(name="pixels", **changes)
    copy = keras_muse.VQGANTokenizer.from_config(tokenizer.get_config())
    assert copy.get_config() == tokenizer.get_config()
    shapes = [v.shape for v in tokenizer.variables]
    assert [v.shape for v in copy.variables] == shapes


# === What published relatives have ===


def test_defaults_add_nothing():
    """Presets from before have neither these arguments nor these weights."""
    tokenizer = tiny_tokenizer()
    old = {k: v for k, v in tokenizer.get_config().items() if k not in RELATIVE}
    copy = keras_muse.VQGANTokenizer.from_config(old)
    paths = [v.path.partition("/")[2] for v in tokenizer.variables]
    assert [v.path.partition("/")[2] for v in copy.variables] == paths
    assert copy.get_config() == tokenizer.get_config()
    assert not any("attention" in p or "quant_conv" in p for p in paths)


def test_relatives_have_attention_where_it_is_asked_for():
    tokenizer = tiny_tokenizer(**RELATIVE)
    names = {
        "encoder": [stage.name for stage in tokenizer.encoder.stages],
        "decoder": [stage.name for stage in tokenizer.decoder.stages],
    }
    middle = ["middle_block_0", "middle_attention", "middle_block_1"]
    assert names["encoder"] == [
        *["conv_in", "level_0_block_0", "downsample_1", "level_1_block_0"],
        *["downsample_2", "level_2_block_0", "level_2_attention_0", *middle],
        *["norm_out", "silu_out", "conv_out", "quant_conv"],
    ]
    assert names["decoder"] == [
        *["post_quant_conv", "conv_in", *middle],
        *["level_2_block_0", "level_2_attention_0"],
        *["upsample_2", "upsample_2_conv", "level_1_block_0"],
        *["upsample_1", "upsample_1_conv", "level_0_block_0"],
        *["norm_out", "silu_out", "conv_out"],
    ]
    conv_out, quant_conv = tokenizer.encoder.stages[-2:]
    assert conv_out.kernel.shape == (3, 3, 16, 6)
    assert quant_conv.kernel.shape == (1, 1, 6, 4)
    assert tokenizer.decoder.stages[0].kernel.shape == (1, 1, 4, 6)


def test_relatives_are_saved_whole(tmp_path):
    tokenizer = tiny_tokenizer(**RELATIVE)
    randomize(tokenizer, 0.1)
    preset = str(tmp_path / "preset")
    tokenizer.save_to_preset(preset)
    restored = keras_muse.VQGANTokenizer.from_preset(preset)
    token_ids = tokenizer.encode(IMAGES)
    np.testing.assert_array_equal(restored.encode(IMAGES), token_ids)
    np.testing.assert_array_equal(
        restored.decode(token_ids), tokenizer.decode(token_ids)
    )


@pytest.mark.parametrize("images", [IMAGES, floats()])
def test_pixel_range_is_what_encoder_and_decoder_see(images):
    tokenizer = smallest_tokenizer(pixel_range=(0, 1))
    randomize(tokenizer, 0.1)
    latents = tokenizer.encoder(((floats() + 1) / 2).astype("float32"))
    expected = to_numpy(tokenizer.quantizer(latents)["token_ids"])
    token_ids = tokenizer.encode(images)
    np.testing.assert_array_equal(token_ids, expected)
    codes = tokenizer.quantizer.lookup(token_ids)
    pixels = 2 * to_numpy(tokenizer.decoder(codes)) - 1
    np.testing.assert_allclose(tokenizer.decode(token_ids), pixels, atol=1e-4)
    np.testing.assert_allclose(to_numpy(tokenizer(images)), pixels, atol=1e-4)
    outputs = tokenizer.loss_inputs(images, training=False)
    np.testing.assert_allclose(to_numpy(outputs["images"]), pixels, atol=1e-4)


def test_a_training_sees_the_tokens_of_encode_in_mixed_precision():
    tokenizer = smallest_tokenizer(pixel_range=(0, 1), dtype="mixed_bfloat16")
    randomize(tokenizer, 0.1)
    images = np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 3))

    def token_ids(images):
        with tokenizer._inside("test"):
            return tokenizer(images)["token_ids"]

    step = compile_function(tokenizer, token_ids)
    np.testing.assert_array_equal(
        to_numpy(step(images.astype("float32"))), tokenizer.encode(images)
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"latent_dim": 4}, "`latent_dim` is of use with `use_quant_conv`"),
        ({"pixel_range": (1, 0)}, r"Received: pixel_range=\(1, 0\)"),
        ({"pixel_range": (1,)}, r"Received: pixel_range=\(1,\)"),
        ({"attention_levels": (3,)}, r"Received: attention_levels=\(3,\)"),
        ({"attention_levels": (-1,)}, r"Received: attention_levels=\(-1,\)"),
        ({"attention_levels": None}, "Received: attention_levels=None"),
        ({"attention_levels": 5}, "Received: attention_levels=5"),
        ({"num_groups": 3}, r"`num_groups` must divide.*\[8, 16\].*groups=3"),
        ({"decoder_base_channels": 6}, r"`num_groups` must.*\[6, 8, 12, 16\]"),
        ({"quantizer": "fsq"}, "`quantizer` must be a layer.*'fsq'"),
        ({"quantizer": keras.layers.Dense(3)}, "`quantizer` must be a layer"),
    ],
)
def test_unusable_arguments_raise(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_tokenizer(**changes)


def test_lora_is_for_transformers():
    with pytest.raises(ValueError, match="for transformers.*VQGANTokenizer"):
        tiny_tokenizer().enable_lora(2)


@pytest.mark.parametrize(
    "multipliers, size, name",
    [
        ((1, 1, 1, 1, 1), 32, "vqgan_f4_small"),  # the default on small ones
        ((1, 1, 1, 1), 16, "vqgan_f4_small"),
        ((1, 1, 1, 1), 32, None),
        ((1, 1, 1), 8, None),  # what is tiny on purpose
    ],
)
def test_a_handful_of_tokens_is_warned_of(multipliers, size, name):
    """`VQGANTokenizer()` makes 2 x 2 tokens of 32 pixels, without a word."""
    tokenizer = tiny_tokenizer(channel_multipliers=multipliers)
    images = tiny_images(2, size=size)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tokenizer.check_data(images, "x")
        tokenizer.check_data(images, "x", training=False)
    words = [str(one.message) for one in caught]
    assert len(words) == (name is not None)
    assert name is None or (name in words[0] and "tokens" in words[0])


def test_saved_with_arguments_by_place_as_keras_takes_them(tmp_path):
    tokenizer = tiny.tiny_tokenizer()
    path = tmp_path / "tokenizer.keras"
    tokenizer.save(path, True)
    tokenizer.save_to_preset(str(tmp_path / "preset"), 5)
    for loaded in (
        keras.saving.load_model(path),
        keras_muse.VQGANTokenizer.from_preset(str(tmp_path / "preset")),
    ):
        np.testing.assert_array_equal(
            loaded.encode(tiny.tiny_images(2)),
            tokenizer.encode(tiny.tiny_images(2)),
        )
