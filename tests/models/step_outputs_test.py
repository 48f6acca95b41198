import keras
import numpy as np
import pytest
from keras import ops

from keras_muse.models.step_outputs import StepOutputsModel
from tests.tiny import to_numpy


class Doubler(StepOutputsModel):
    """Each of its forward passes is another multiple of the input."""

    def __init__(self):
        super().__init__()
        self.factor = self.add_weight(shape=(), initializer="ones")
        self.seen = []
        self.built = True

    def inference(self, inputs):
        return 2 * inputs * self.factor

    def prediction(self, inputs):
        return 3 * inputs * self.factor

    def training_outputs(self, inputs, training):
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

    model.training_outputs = fail
    model.run_eagerly = True
    with pytest.raises(KeyError):
        model.train_on_batch(ones())
    np.testing.assert_array_equal(to_numpy(model(ones())), 2)


def test_subclasses_must_say_what_they_compute():
    model = StepOutputsModel()
    with pytest.raises(NotImplementedError):
        model.inference(ones())
    with pytest.raises(NotImplementedError):
        model.training_outputs(ones(), training=True)
