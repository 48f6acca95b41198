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


@pytest.mark.skipif(BACKEND == "torch", reason="artifacts have a size there")
@pytest.mark.filterwarnings("ignore")  # of the exporters, at each other
def test_a_tokenizer_that_was_never_called_is_exported_for_any_size(tmp_path):
    import tensorflow as tf

    model = tiny.tiny_tokenizer(use_middle_attention=True)
    signature = [keras.InputSpec(shape=(None, None, None, 3), dtype="uint8")]
    model.export(tmp_path, verbose=False, input_signature=signature)
    artifact = tf.saved_model.load(tmp_path)
    for size in (16, (8, 20)):
        images = tiny.tiny_images(2, size)
        np.testing.assert_allclose(
            artifact.serve(tf.constant(images)),
            tiny.to_numpy(tiny.call(model, images)),
            atol=1e-4,
        )


def test_a_signature_that_is_no_pictures_is_refused(tmp_path):
    model = tiny.tiny_tokenizer()
    for shape, words in (((None, 16, 3), "of shape"), ((1, 6, 8, 3), "factor")):
        signature = [keras.InputSpec(shape=shape, dtype="uint8")]
        with pytest.raises(ValueError, match=f"`input_signature`.*{words}"):
            model.export(tmp_path / "model", input_signature=signature)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(None, None, None, 3), (None, 16, None, 3)])
def test_pictures_of_any_size_are_refused_in_other_formats(tmp_path, shape):
    signature = [keras.InputSpec(shape=shape, dtype="uint8")]
    model = tiny.tiny_tokenizer()
    format = "torch" if BACKEND == "torch" else "onnx"
    with pytest.raises(ValueError, match="`input_signature` must have"):
        model.export(
            tmp_path / "model.pt2", format=format, input_signature=signature
        )
    assert not list(tmp_path.iterdir())
