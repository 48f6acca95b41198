"""What a model computes in a step of `fit` beside its prediction."""

import contextlib

import keras
import numpy as np

from keras_muse.models.batch_streams import fit_options
from keras_muse.models.batch_streams import is_stream
from keras_muse.models.compiled import DEFAULT_BATCH_SIZE
from keras_muse.models.compiled import are_arrays
from keras_muse.models.compiled import check_whole_batches
from keras_muse.models.compiled import compile_function
from keras_muse.models.compiled import fetchable
from keras_muse.models.compiled import map_batches
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

    # Into how many parts a training step cuts its batch.
    gradient_accumulation_steps = 1

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._step = None
        self._predict = None

    def fit(self, x=None, y=None, batch_size=None, *args, **kwargs):
        """`keras.Model.fit`; a batch must be whole under a distribution."""
        check_whole_batches(x, batch_size, self.gradient_accumulation_steps)
        check_whole_batches(
            validation_inputs(kwargs.get("validation_data")),
            kwargs.get("validation_batch_size") or batch_size,
        )
        if is_stream(x):
            kwargs = fit_options(self, x, kwargs)
        return super().fit(x, y, batch_size, *args, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, *args, **kwargs):
        """`keras.Model.evaluate`, with whole batches as in `fit`."""
        check_whole_batches(x, batch_size)
        return super().evaluate(x, y, batch_size, *args, **kwargs)

    def predict(
        self, x, batch_size=None, verbose="auto", steps=None, callbacks=None
    ):
        """`keras.Model.predict`, of any number of rows.

        Under a distribution Keras would neither fill up the last batch nor
        fetch what is on other machines.
        """
        is_distributed = keras.distribution.distribution() is not None
        if not is_distributed or not are_arrays(x) or steps or callbacks:
            return super().predict(x, batch_size, verbose, steps, callbacks)
        if self._predict is None:
            self._predict = compile_function(
                self, lambda inputs: fetchable(self.prediction(inputs))
            )
        inputs = keras.tree.map_structure(np.asarray, x)
        progress = keras.utils.Progbar(
            len(keras.tree.flatten(inputs)[0]),
            verbose=1 if verbose == "auto" else verbose,
            unit_name="row",
        )
        return map_batches(
            self._predict,
            [inputs],
            batch_size or DEFAULT_BATCH_SIZE,
            on_batch=progress.update,
        )

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


def validation_inputs(validation_data):
    """`x` of `fit`'s `validation_data`, which may be `(x, y)`."""
    is_pair = isinstance(validation_data, tuple)
    return validation_data[0] if is_pair else validation_data
