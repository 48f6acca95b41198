"""Every model through Keras' own callbacks, `evaluate`, saving and export."""

import keras
import numpy as np
import pytest

from keras_muse.models import PictureTextScorer
from keras_muse.runtime.compiled import compile_function
from tests.helpers import tiny
from tests.helpers.exported import outputs_of_artifact
from tests.helpers.tiny import to_numpy

KINDS = ["tokenizer", "base", "super_res", "scorer"]
NUM_ROWS, STEPS = 8, 2
callbacks = keras.callbacks


def make(kind):
    if kind == "tokenizer":
        return tiny.tiny_tokenizer(channel_multipliers=(1, 1))
    if kind == "scorer":
        return PictureTextScorer(hidden_dim=8, embedding_dim=4, name="scorer")
    maker = {"base": tiny.tiny_base, "super_res": tiny.tiny_super_res}[kind]
    return maker(num_layers=1)


def make_data(kind, model):
    if kind == "tokenizer":
        return tiny.tiny_images(NUM_ROWS, size=8)
    if kind != "scorer":
        return tiny.tiny_data(model, NUM_ROWS)
    generator = np.random.default_rng(0)
    shapes = {
        "image_features": (NUM_ROWS, 1280),
        "text_features": (NUM_ROWS, 384),
    }
    return {
        "caption_ids": np.arange(NUM_ROWS),
        **{
            name: generator.normal(size=shape).astype("float32")
            for name, shape in shapes.items()
        },
    }


def set_up(kind, model):
    options = {}
    if kind == "tokenizer":
        options = {"perceptual": None, "adversarial_weight": 0}
    optimizer = keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, **options)


class Journey:
    """A model that is trained more than once, and what it is trained on."""

    def __init__(self, kind, directory):
        self.kind, self.directory = kind, directory
        self.model = make(kind)
        self.data = make_data(kind, self.model)
        set_up(kind, self.model)

    def fit(self, *given, **kwargs):
        return self.model.fit(
            self.data,
            validation_data=self.data,
            batch_size=NUM_ROWS // STEPS,
            verbose=0,
            callbacks=list(given),
            **kwargs,
        ).history

    def loss(self, model=None):
        model = model or self.model
        return model.evaluate(
            self.data, batch_size=NUM_ROWS // STEPS, verbose=0, return_dict=True
        )["loss"]


@pytest.fixture(scope="module", params=KINDS)
def journey(request, tmp_path_factory):
    return Journey(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def history(journey):
    """Of a training that sees no loss get better by a thousand."""
    path = journey.directory
    return journey.fit(
        callbacks.EarlyStopping(
            "val_loss", min_delta=1e3, patience=2, restore_best_weights=True
        ),
        callbacks.ReduceLROnPlateau(
            "val_loss", factor=0.5, min_delta=1e3, patience=1
        ),
        callbacks.ModelCheckpoint(
            path / "best.keras", "val_loss", save_best_only=True
        ),
        callbacks.ModelCheckpoint(
            path / "best.weights.h5",
            "val_loss",
            save_best_only=True,
            save_weights_only=True,
        ),
        callbacks.TensorBoard(path / "board"),
        epochs=9,
    )


def test_early_stopping_keeps_the_best_weights(journey, history):
    assert len(history["val_loss"]) == 3  # the first, and two in patience
    assert journey.loss() == pytest.approx(history["val_loss"][0], rel=1e-4)
    assert len(set(history["val_loss"])) == 3


def test_a_plateau_lowers_the_learning_rate(history):
    np.testing.assert_allclose(
        history["learning_rate"], [1e-2, 1e-2, 5e-3], rtol=1e-5
    )


def test_checkpoints_hold_the_best(journey, history):
    best = pytest.approx(min(history["val_loss"]), rel=1e-4)
    loaded = keras.saving.load_model(journey.directory / "best.keras")
    assert type(loaded) is type(journey.model)
    if not loaded.compiled:  # a tokenizer and a scorer
        set_up(journey.kind, loaded)
    assert journey.loss(loaded) == best
    loaded.load_weights(journey.directory / "best.weights.h5")
    assert journey.loss(loaded) == best


def test_tensorboard_has_its_curves(journey, history):
    for part in ("train", "validation"):
        (file,) = (journey.directory / "board" / part).glob("events.out.*")
        assert file.stat().st_size > 0


class Stop(callbacks.Callback):
    """Ends the training as Ctrl-C does, inside the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 1:
            raise KeyboardInterrupt


class Begin(callbacks.Callback):
    """What a training begins with."""

    def on_train_begin(self, logs=None):
        self.weights = [to_numpy(w).copy() for w in self.model.weights]
        self.iterations = int(self.model.optimizer.iterations)


class AfterEpoch(callbacks.Callback):
    """The weights after the first epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.weights = [to_numpy(w).copy() for w in self.model.weights]
            self.iterations = int(self.model.optimizer.iterations)


def test_a_backup_goes_on_where_it_was_stopped(journey, history):
    backup = journey.directory / "backup"
    after, begin = AfterEpoch(), Begin()
    with pytest.raises(KeyboardInterrupt):
        journey.fit(callbacks.BackupAndRestore(backup), after, Stop(), epochs=3)
    history = journey.fit(callbacks.BackupAndRestore(backup), begin, epochs=3)
    assert len(history["loss"]) == 2  # epochs 2 and 3
    assert begin.iterations == after.iterations
    for a, b in zip(begin.weights, after.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    # The next training is one of its own.
    assert len(journey.fit(epochs=1)["loss"]) == 1


def test_averaged_weights_are_validated_and_kept(journey, history):
    plain = journey.fit(epochs=1)
    assert journey.loss() != pytest.approx(plain["val_loss"][-1], rel=1e-5)
    swapped = journey.fit(callbacks.SwapEMAWeights(), epochs=1)
    assert journey.loss() == pytest.approx(swapped["val_loss"][-1], rel=1e-4)


@pytest.mark.filterwarnings("ignore")  # of the exporters, at each other
def test_an_artifact_gives_the_numbers_of_the_model(journey, history):
    """Its shapes are those of the training."""
    inputs = journey.data
    known = journey.model.batch_inputs(training=False)
    if known is not None:
        inputs = {
            name: inputs[name]
            for name, spec in known.items()
            if not spec.is_optional
        }
    row = keras.tree.map_structure(lambda x: x[:1], inputs)
    actual = outputs_of_artifact(journey.directory, journey.model, row)
    # One program: called as it is, JAX would compile each operation.
    call = compile_function(journey.model, journey.model.call_outputs)
    expected = call(row)
    for a, b in zip(
        keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-4)


def with_a_critic(dtype):
    tokenizer = tiny.tiny_tokenizer(channel_multipliers=(1, 1), dtype=dtype)
    tokenizer.compile(
        keras.optimizers.SGD(1e-2),
        keras.optimizers.SGD(1e-1),
        perceptual=None,
        discriminator=tiny.tiny_discriminator(),
    )
    return tokenizer


def test_a_plateau_lowers_both_learning_rates_beside_a_critic():
    tokenizer, images = with_a_critic("float32"), tiny.tiny_images(4, size=8)
    plateau = callbacks.ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=99)
    tokenizer.fit(images, epochs=2, callbacks=[plateau], verbose=0)
    rates = [float(o.learning_rate) for o in tokenizer.optimizer.optimizers]
    np.testing.assert_allclose(sorted(rates), [5e-3, 5e-2], rtol=1e-5)


def test_where_the_loss_of_both_is_scaled_no_callback_sets_a_rate():
    tokenizer, images = with_a_critic("mixed_float16"), tiny.tiny_images(4)
    for callback in (
        callbacks.ReduceLROnPlateau("loss"),
        callbacks.LearningRateScheduler(lambda epoch: 1e-3),
    ):
        with pytest.raises(ValueError, match="`callbacks` must not set a lea"):
            tokenizer.fit(images, callbacks=[callback], verbose=0)
