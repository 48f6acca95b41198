import keras
import numpy as np
import pytest
from keras import ops

from keras_muse.training import NaNGuard


class TwoLosses(keras.Model):
    """Its losses are the means of its two inputs, so that either can break."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.names = ("reconstruction_loss", "adversarial_loss")
        self.means = [keras.metrics.Mean(name=name) for name in self.names]

    def call(self, inputs):
        return self.dense(inputs)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        total = 0.0 * ops.mean(y_pred)
        for i, mean in enumerate(self.means):
            loss = ops.mean(x[:, i])
            mean.update_state(loss)
            total = total + loss
        return total


def fit(x, epochs=1, callbacks=()):
    model = TwoLosses()
    model.compile("sgd")
    guard = NaNGuard()
    try:
        model.fit(
            x,
            batch_size=2,
            epochs=epochs,
            shuffle=False,
            callbacks=[guard, *callbacks],
            verbose=0,
        )
    finally:
        # Still a model that can be looked at, on JAX too.
        assert len(model.get_weights()) == 2
    return model


def finite():
    return np.full((8, 2), 0.25, "float32")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "column, name",
    list(enumerate(["reconstruction_loss", "adversarial_loss"])),
)
def test_names_the_loss_the_batch_and_what_was_before(value, column, name):
    x = finite()
    x[5, column] = value  # in the third batch
    with pytest.raises(RuntimeError) as error:
        fit(x)
    message = str(error.value)
    assert f"epoch 1, batch 3: {name}={value}." in message
    assert "adversarial_loss=0.25" in message
    assert "reconstruction_loss=0.25" in message
    advised = "Start the discriminator later" in message
    assert advised == (name == "adversarial_loss")


def test_all_at_once_is_told_apart():
    x = finite()
    x[0] = np.nan
    with pytest.raises(RuntimeError, match="the first batch.*All losses"):
        fit(x)


def test_total_loss_alone_is_named():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    y = np.full((4, 1), np.nan, "float32")
    with pytest.raises(RuntimeError, match="batch 1: loss=nan.*Lower the lear"):
        model.fit(finite()[:4], y, callbacks=[NaNGuard()], verbose=0)


def test_nothing_saves_the_broken_weights(tmp_path):
    x = finite()
    x[5, 0] = np.nan
    saver = keras.callbacks.ModelCheckpoint(
        tmp_path / "{epoch}.weights.h5", save_weights_only=True
    )
    with pytest.raises(RuntimeError):
        fit(x, callbacks=[saver])
    assert not list(tmp_path.iterdir())


def test_finite_losses_and_other_metrics_pass():
    assert fit(finite(), epochs=2).built
    NaNGuard().on_train_batch_end(0, {"loss": 1.0, "psnr": float("inf")})
