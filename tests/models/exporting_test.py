"""What an artifact computes is in `tests/callbacks_matrix_test.py`."""

import keras
import numpy as np
import pytest

from keras_muse.models.exporting import SeenInputs
from keras_muse.runtime.inputs import Input
from tests.helpers import tiny

BACKEND = keras.config.backend()


def test_of_a_dict_what_a_call_takes_counts():
    seen = SeenInputs()
    assert seen.signature is None
    inputs = {"a": np.zeros((4, 2, 3), "int32"), "mask": np.zeros((4, 2))}
    known = {
        "a": Input(shapes=(("length", 3),)),
        "mask": Input(shapes=(("length",),), is_optional=True),
    }
    seen.look(inputs, known)
    ((name, spec),) = seen.signature[0].items()
    assert (name, spec.shape, spec.dtype) == ("a", (None, 2, 3), "int32")


def test_what_was_given_counts_and_not_what_it_is_cast_to():
    model = tiny.tiny_base(num_layers=1, dtype="mixed_bfloat16")
    data = tiny.tiny_data(model)
    model(data)
    (signature,) = model._seen_inputs.signature
    assert {name: spec.dtype for name, spec in signature.items()} == {
        name: x.dtype for name, x in data.items()
    }


def test_what_cannot_be_exported_is_refused_by_name(tmp_path):
    model = tiny.tiny_base(num_layers=1)
    format = "torch" if BACKEND == "torch" else "tf_saved_model"
    with pytest.raises(ValueError, match="`input_signature` must be given"):
        model.export(tmp_path / "model", format=format)
    if BACKEND == "torch":
        with pytest.raises(ValueError, match="`format` on the Torch backend"):
            model.export(tmp_path / "model")
    assert not list(tmp_path.iterdir())
