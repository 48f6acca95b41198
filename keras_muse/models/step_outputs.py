"""What a model computes in a step of `fit` beside its prediction."""

import contextlib

from keras_muse.models.preset_model import PresetModel


class StepOutputsModel(PresetModel):
    """A model whose steps may compute more, or less, than `call`.

    `model(inputs)` is `inference(inputs)`. The loss needs more: which tokens
    were masked, which codes were chosen. In `fit` and `evaluate` the one
    forward pass is therefore `training_outputs(inputs, training)`, whose
    result arrives in `compute_loss` as `y_pred`; in `predict` it is
    `prediction(inputs)`. This holds on every backend, since all of them trace
    or run `call` inside the step.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._step = None

    def train_step(self, *args, **kwargs):
        with self._inside("train"):
            return super().train_step(*args, **kwargs)

    def test_step(self, *args, **kwargs):
        with self._inside("test"):
            return super().test_step(*args, **kwargs)

    def predict_step(self, *args, **kwargs):
        with self._inside("predict"):
            return super().predict_step(*args, **kwargs)

    @contextlib.contextmanager
    def _inside(self, step):
        self._step = step
        try:
            yield
        finally:
            self._step = None

    def call(self, inputs, training=False):
        if self._step in ("train", "test"):
            return self.training_outputs(inputs, training)
        if self._step == "predict":
            return self.prediction(inputs)
        return self.inference(inputs)

    def training_outputs(self, inputs, training):
        """The forward pass of `fit` and `evaluate`, for `compute_loss`."""
        raise NotImplementedError

    def prediction(self, inputs):
        """The forward pass of `predict`."""
        return self.inference(inputs)

    def inference(self, inputs):
        """The forward pass of `model(inputs)`."""
        raise NotImplementedError
