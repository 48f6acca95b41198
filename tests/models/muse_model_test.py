import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_muse import VQGANTokenizer
from keras_muse.models import PictureTextScorer
from keras_muse.models.keras_arguments import known_callbacks
from keras_muse.models.muse_model import MuseModel
from tests.helpers import tiny
from tests.helpers.tiny import to_numpy


class Doubler(MuseModel):
    """Each of its forward passes is another multiple of the input."""

    def __init__(self):
        super().__init__()
        self.factor = self.add_weight(shape=(), initializer="ones")
        self.seen = []
        self.built = True

    def call_outputs(self, inputs):
        return 2 * inputs * self.factor

    def predict_outputs(self, inputs):
        return 3 * inputs * self.factor

    def loss_inputs(self, inputs, training):
        self.seen.append(training)
        return {"y": 4 * inputs * self.factor, "extra": inputs}

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        assert set(y_pred) == {"y", "extra"}
        return ops.mean(y_pred["y"]) + 0 * ops.mean(y_pred["extra"])


@pytest.fixture
def model():
    model = Doubler()
    model.compile(keras.optimizers.SGD(0.25))
    return model


def ones():
    return np.ones((4, 1), "float32")


def test_call_is_inference_before_and_after_steps(model):
    np.testing.assert_array_equal(to_numpy(model(ones())), 2)
    model.evaluate(ones(), verbose=0)
    model.predict(ones(), verbose=0)
    np.testing.assert_array_equal(to_numpy(model(ones())), 2)


def test_predict_is_prediction(model):
    np.testing.assert_array_equal(model.predict(ones(), verbose=0), 3)
    np.testing.assert_array_equal(to_numpy(model.predict_on_batch(ones())), 3)


def test_evaluate_is_training_outputs_without_training(model):
    assert model.evaluate(ones(), verbose=0) == 4
    assert set(model.seen) == {False}


def test_fit_is_training_outputs_with_training(model):
    history = model.fit(ones(), batch_size=4, verbose=0).history
    assert history["loss"] == [4] and set(model.seen) == {True}
    # One step of 0.25 down the slope of 4.
    np.testing.assert_array_equal(to_numpy(model.factor), 0)
    model.train_on_batch(ones())
    np.testing.assert_array_equal(to_numpy(model.factor), -1)


def test_validation_inside_fit(model):
    history = model.fit(
        ones(), validation_data=ones(), batch_size=4, verbose=0
    ).history
    assert history["loss"] == [4] and history["val_loss"] == [0]
    assert set(model.seen) == {True, False}


def test_a_failed_step_leaves_inference(model):
    def fail(*args):
        raise KeyError("broken")

    model.loss_inputs = fail
    model.run_eagerly = True
    with pytest.raises(KeyError):
        model.train_on_batch(ones())
    np.testing.assert_array_equal(to_numpy(model(ones())), 2)


def test_lists_in_a_batch_are_arrays():
    model = tiny.tiny_base(num_layers=1)
    data = tiny.tiny_data(model, batch=1)
    lists = {name: x.tolist() for name, x in data.items()}
    np.testing.assert_array_equal(to_numpy(model(lists)), to_numpy(model(data)))


def test_subclasses_must_say_what_they_compute():
    model = MuseModel()
    with pytest.raises(NotImplementedError):
        model.call_outputs(ones())
    with pytest.raises(NotImplementedError):
        model.loss_inputs(ones(), training=True)


# === What Keras offers and these losses have no place for ===


@pytest.fixture(params=["base", "tokenizer", "scorer"])
def trained(request):
    """A model, and what its `fit` takes."""
    if request.param == "base":
        model = tiny.tiny_base(num_layers=1)
        return model, tiny.tiny_data(model, 4)
    if request.param == "tokenizer":
        return tiny.tiny_tokenizer(), tiny.tiny_images(4)
    generator = np.random.default_rng(0)
    features = {
        "image_features": generator.normal(size=(4, 1280)),
        "text_features": generator.normal(size=(4, 384)),
        "caption_ids": np.arange(4),
    }
    return PictureTextScorer(hidden_dim=8, embedding_dim=4), features


def set_up(model, **kwargs):
    if isinstance(model, VQGANTokenizer):
        kwargs = {"perceptual": None, "adversarial_weight": 0, **kwargs}
    model.compile(keras.optimizers.SGD(0.1), **kwargs)


@pytest.mark.parametrize(
    "option",
    [
        {"loss": "mse"},
        {"loss_weights": [3.0]},
        {"metrics": ["mae"]},
        {"weighted_metrics": ["mae"]},
    ],
)
def test_losses_of_targets_are_refused_by_name(trained, option):
    (name,) = option
    with pytest.raises(ValueError, match=f"takes no {name}.*Received: {name}="):
        set_up(trained[0], **option)


@pytest.mark.parametrize(
    "option",
    [
        {"y": np.zeros(4)},
        {"sample_weight": np.zeros(4)},
        {"class_weight": {0: 1.0}},
    ],
)
def test_targets_and_weights_of_rows_are_refused_by_name(trained, option):
    model, x = trained
    set_up(model)
    (name,) = option
    before = [to_numpy(v) for v in model.trainable_variables]
    methods = [model.fit, model.train_on_batch]
    if name != "class_weight":
        methods += [model.evaluate, model.test_on_batch]
    for method in methods:
        with pytest.raises(ValueError, match=f"without `{name}`"):
            method(x, **option)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(to_numpy(variable), value)


def test_pairs_are_refused_wherever_they_come_from(trained):
    model, x = trained
    set_up(model)

    class Pairs(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return x, np.zeros(4)

    with pytest.raises(ValueError, match="without `y`"):
        model.fit(Pairs(), verbose=0)
    with pytest.raises(ValueError, match="without `y`"):
        model.fit(x, validation_data=(x, np.zeros(4)), verbose=0)
    model.fit(x, validation_data=(x,), verbose=0)


@pytest.mark.parametrize("make", [tiny.tiny_base, tiny.tiny_tokenizer])
def test_weights_in_float16_can_be_used_and_not_trained(make):
    model = make(dtype="float16")
    with pytest.raises(ValueError, match="`dtype` must.*dtype='float16'"):
        set_up(model)
    assert not model.compiled


def test_mixed_float16_trains_as_float32_does():
    losses = []
    for dtype in ("float32", "mixed_float16"):
        model = tiny.tiny_base(num_layers=1, random_weights=False, dtype=dtype)
        model.compile()
        data = tiny.tiny_data(model, 8)
        history = model.fit(data, batch_size=4, epochs=2, verbose=0).history
        losses.append(history["loss"])
    np.testing.assert_allclose(*losses, atol=0.02)


# === The paper's learning rate ===


def rates(model, *steps):
    optimizer = model.optimizer
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        (optimizer,) = {type(o): o for o in optimizer.optimizers}.values()
    schedule = optimizer.get_config()["learning_rate"]
    if isinstance(schedule, float):
        return [schedule] * len(steps)
    schedule = keras.optimizers.schedules.deserialize(schedule)
    return [float(to_numpy(schedule(step))) for step in steps]


@pytest.mark.parametrize(
    "make, warmup", [(tiny.tiny_base, 5_000), (tiny.tiny_tokenizer, 10_000)]
)
def test_told_its_steps_the_default_optimizer_takes_the_papers_course(
    make, warmup
):
    model = make()
    options = {}
    if isinstance(model, VQGANTokenizer):
        critic = tiny.tiny_discriminator()
        options = {"perceptual": None, "discriminator": critic}
    model.compile(**options)
    assert rates(model, 0, 100) == [pytest.approx(1e-4)] * 2
    model.compile(total_steps=1_000_000, **options)
    half = warmup + (1_000_000 - warmup) // 2
    assert rates(model, warmup // 2, warmup, half, 1_000_000) == pytest.approx(
        [5e-5, 1e-4, 5e-5, 0], abs=1e-9
    )
    # A short training warms up in a tenth of it.
    model.compile(total_steps=100, **options)
    assert rates(model, 5, 10, 55, 100) == pytest.approx(
        [5e-5, 1e-4, 5e-5, 0], abs=1e-9
    )
    with pytest.raises(ValueError, match="`total_steps` is for the default"):
        model.compile("adam", total_steps=100, **options)
    with pytest.raises(ValueError, match="`total_steps` must be an integer"):
        model.compile(total_steps=1.5, **options)


# === The objective ===


class TwoTerms(MuseModel):
    """Two numbers that are pulled to 1 and to 2."""

    term_weights = {"first_loss": 1.0, "second_loss": 0.5}
    passing_losses = ("second_loss",)

    def __init__(self):
        super().__init__()
        self._track_losses(("first_loss", "second_loss", "third_loss"))
        self.numbers = self.add_weight(shape=(2,), initializer="zeros")
        self.built = True

    def loss_inputs(self, inputs, training):
        return self.numbers + 0 * ops.sum(inputs)

    def loss_terms(self, inputs, outputs, training):
        first, second = outputs[0] - 1, outputs[1] - 2
        return {"first_loss": first**2, "second_loss": second**2}


def test_terms_are_weighted_and_shown():
    model = TwoTerms()
    model.compile(keras.optimizers.SGD(0.1))
    history = model.fit(
        ones(), validation_data=ones(), batch_size=4, verbose=0
    ).history
    assert history["loss"] == [3.0]  # 1 + 4 / 2
    assert history["first_loss"] == [1.0] and history["second_loss"] == [4.0]
    # A term that comes and goes does not count there.
    assert history["val_loss"] == history["val_first_loss"] != [0]
    assert "val_second_loss" in history and "third_loss" not in history


def test_a_loss_that_is_no_number_ends_the_training_and_names_the_term():
    class Breaks(TwoTerms):
        def loss_terms(self, inputs, outputs, training):
            terms = super().loss_terms(inputs, outputs, training)
            return {**terms, "second_loss": terms["second_loss"] + np.nan}

    model = Breaks()
    model.compile(keras.optimizers.SGD(0.1))
    with pytest.raises(RuntimeError, match="second_loss=nan"):
        model.fit(ones(), batch_size=4, verbose=0)


def test_masked_token_models_are_guarded_too():
    model = tiny.tiny_base(num_layers=1)
    data = tiny.tiny_data(model, 4)
    data["text_embeddings"][0] = np.nan
    model.compile(text_dropout=0)
    with pytest.raises(RuntimeError, match="loss=nan"):
        model.fit(data, batch_size=4, verbose=0)


# === A loop of one's own, and a summary ===


def gradients_of_a_loop(model, batch):
    """What a loop without `fit` and `compile` computes, as its docstring."""
    variables = model.trainable_variables

    def loss():
        outputs = model.loss_inputs(batch, training=True)
        return model.compute_loss(batch, y_pred=outputs)

    if keras.config.backend() == "jax":
        import jax

        def loss_of(values):
            mapping = zip(variables, values, strict=True)
            with keras.StatelessScope(state_mapping=list(mapping)):
                return loss()

        return jax.jit(jax.grad(loss_of))([v.value for v in variables])
    if keras.config.backend() == "torch":
        loss().backward()
        return [v.value.grad for v in variables]
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = loss()
    return tape.gradient(value, [v.value for v in variables])


def test_a_loop_of_ones_own_needs_no_compile():
    batch = tiny.tiny_data(tiny.tiny_base(num_layers=1), 4)
    by_hand, by_fit = (tiny.tiny_base(num_layers=1) for _ in range(2))
    gradients = gradients_of_a_loop(by_hand, batch)
    by_fit.compile(keras.optimizers.SGD(1.0))
    before = [to_numpy(v).copy() for v in by_fit.trainable_variables]
    by_fit.train_on_batch(batch)
    for old, gradient, variable in zip(
        before, gradients, by_fit.trainable_variables, strict=True
    ):
        gradient = to_numpy(ops.convert_to_tensor(gradient))
        np.testing.assert_allclose(
            old - gradient, to_numpy(variable), atol=1e-4
        )


def test_a_tokenizer_says_what_its_losses_need():
    tokenizer, images = tiny.tiny_tokenizer(), tiny.tiny_images(1)
    with pytest.raises(ValueError, match="need `compile`, which attaches"):
        tokenizer.loss_terms(images, None, training=True)


@pytest.mark.parametrize(
    "make, shapes",
    [
        (tiny.tiny_base, ["(None, 16, 16)"]),
        (tiny.tiny_super_res, ["(None, 32, 16)", "(None, 8, 16)"]),
        (tiny.tiny_uvit, ["(None, None, None, 8)"]),
        (tiny.tiny_tokenizer, ["(None, None, None, 4)"]),
    ],
)
def test_a_summary_shows_shapes(make, shapes):
    lines = []
    make().summary(
        line_length=120, print_fn=lambda line, **_: lines.append(line)
    )
    text = "\n".join(lines)
    assert "?" not in text and all(shape in text for shape in shapes)


# === Keras' own callbacks, and saving ===


@pytest.mark.parametrize("monitor", ["val_accuracy", "accuracy", "val_loss"])
def test_callbacks_know_the_direction_of_what_they_monitor(tmp_path, monitor):
    model = tiny.tiny_base(num_layers=1)
    data = tiny.tiny_data(model, 4)
    model.compile()
    model.fit(
        data,
        validation_data=data,
        verbose=0,
        callbacks=[
            keras.callbacks.EarlyStopping(monitor),
            keras.callbacks.ModelCheckpoint(
                tmp_path / "best.keras", monitor, save_best_only=True
            ),
            keras.callbacks.ReduceLROnPlateau("loss"),
        ],
    )
    assert (tmp_path / "best.keras").exists()


@pytest.mark.parametrize(
    "monitor, better, worse",
    [("codebook_usage", 0.9, 0.8), ("val_reconstruction_loss", 0.8, 0.9)],
)
def test_a_plateau_is_told_in_the_right_direction(monitor, better, worse):
    callback = keras.callbacks.ReduceLROnPlateau(monitor)
    known_callbacks(callback, tiny.tiny_tokenizer().larger_is_better)
    callback._set_monitor_op()
    assert callback.monitor_op(better, worse)
    assert not callback.monitor_op(worse, better)


@pytest.mark.parametrize(
    "monitor", ["val_codebook_usage", "val_reconstruction_loss", "val_loss"]
)
def test_so_they_do_of_a_tokenizer(monitor):
    tokenizer, images = tiny.tiny_tokenizer(), tiny.tiny_images(4)
    tokenizer.compile(perceptual=None, adversarial_weight=0)
    tokenizer.fit(
        images,
        validation_data=images,
        verbose=0,
        callbacks=[keras.callbacks.EarlyStopping(monitor)],
    )


def test_a_model_that_is_saved_while_it_trains_goes_on(tmp_path):
    """As if never saved: with its options, and the optimizer's state."""
    model = tiny.tiny_base(num_layers=1)
    data = tiny.tiny_data(model, 8)
    model.compile(
        keras.optimizers.Adam(1e-2), label_smoothing=0.1, text_dropout=0.5
    )
    options = {"batch_size": 4, "shuffle": False, "verbose": 0}
    model.fit(data, **options)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.compiled and loaded.label_smoothing == 0.1
    assert loaded.text_dropout == 0.5
    expected, actual = (m.fit(data, **options).history for m in (model, loaded))
    assert actual["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    for a, b in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-5)


@pytest.mark.parametrize("batches", ["filter", "repeat"])
def test_datasets_that_do_not_know_their_length(batches):
    tf = pytest.importorskip("tensorflow")
    for model, x in (
        (tiny.tiny_base(num_layers=1), None),
        (tiny.tiny_tokenizer(), tiny.tiny_images(4)),
    ):
        set_up(model)
        x = tiny.tiny_data(model, 4) if x is None else x
        dataset = tf.data.Dataset.from_tensor_slices(x).batch(2)
        if batches == "filter":
            dataset, options = dataset.filter(lambda x: True), {}
        else:
            dataset = dataset.repeat()
            options = {
                "steps_per_epoch": 2,
                "validation_data": dataset,
                "validation_steps": 1,
            }
        with warnings.catch_warnings():
            # Keras: of the order, which is the dataset's, and of its end.
            warnings.simplefilter("ignore")
            history = model.fit(dataset, verbose=0, **options).history
        assert np.isfinite(history["loss"][0])


def test_keras_settings_change_no_layout(tmp_path):
    """Pictures are `(batch, height, width, channels)`, whatever Keras says."""
    models = (tiny.tiny_tokenizer, tiny.tiny_uvit, tiny.tiny_discriminator)
    inputs = (
        tiny.tiny_images(2),
        tiny.tiny_data(tiny.tiny_uvit(), 2),
        np.zeros((2, 16, 16, 3), "float32"),
    )
    pairs = list(zip(models, inputs, strict=True))
    expected = [tiny.call(make(), x) for make, x in pairs]
    keras.config.set_image_data_format("channels_first")
    try:
        actual = [tiny.call(make(), x) for make, x in pairs]
    finally:
        keras.config.set_image_data_format("channels_last")
    for a, b in zip(actual[:2], expected[:2], strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-5)
    assert actual[2].shape == expected[2].shape


def test_ids_of_another_codebook_are_refused_in_a_dataset():
    tf = pytest.importorskip("tensorflow")
    base = tiny.tiny_base(num_layers=1)
    set_up(base)
    data = tiny.tiny_data(base, 4)
    data["token_ids"] = data["token_ids"] + base.codebook_size
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(2)
    with pytest.raises(ValueError, match="`token_ids` must be clean tokens"):
        base.fit(dataset, verbose=0)


def test_terms_are_means_over_rows_as_the_loss_is():
    """A batch that is not full counts by what it has."""
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.compile(perceptual=None, adversarial_weight=0, entropy_weight=0)
    images = tiny.tiny_images(5)
    images[4] = np.random.default_rng(0).integers(0, 256, images[4].shape)
    whole, parts = (
        tokenizer.evaluate(images, batch_size=size, return_dict=True, verbose=0)
        for size in (5, 4)
    )
    for name in ("loss", "reconstruction_loss", "commitment_loss"):
        assert parts[name] == pytest.approx(whole[name], rel=1e-5)
    alone = tokenizer.evaluate(images[4:], return_dict=True, verbose=0)
    assert alone["reconstruction_loss"] > 0.02 + whole["reconstruction_loss"]


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"steps": 0}, {"batch_size": "a"}]
)
def test_predict_refuses_numbers_that_are_none(options):
    model = tiny.tiny_base()
    (name,) = options
    with pytest.raises(ValueError, match=f"`{name}` must be a positive int"):
        model.predict(tiny.tiny_data(model), verbose=0, **options)


def test_what_is_left_for_validation_is_in_no_batch():
    model = tiny.tiny_base()
    model.compile(gradient_accumulation_steps=2)
    model.fit(
        tiny.tiny_data(model, 9),
        batch_size=4,
        validation_split=1 / 9,
        verbose=0,
    )
    with pytest.raises(ValueError, match="multiple of 2.*the last of 1"):
        model.fit(
            tiny.tiny_data(model, 10),
            batch_size=4,
            validation_split=0.1,
            verbose=0,
        )
