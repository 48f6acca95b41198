import keras
import numpy as np
import pytest

from keras_muse.models import PictureTextScorer
from keras_muse.models.exporting import SeenInputs
from keras_muse.runtime.inputs import Input
from tests.helpers import tiny
from tests.helpers.tiny import to_numpy

BACKEND = keras.config.backend()


def scorer_and_features(num_rows):
    generator = np.random.default_rng(0)
    features = {
        "image_features": generator.normal(size=(num_rows, 1280)),
        "text_features": generator.normal(size=(num_rows, 384)),
    }
    features = {k: x.astype("float32") for k, x in features.items()}
    return PictureTextScorer(hidden_dim=8, embedding_dim=4), features


def model_and_inputs(kind, num_rows=3):
    if kind == "tokenizer":
        return tiny.tiny_tokenizer(), tiny.tiny_images(num_rows)
    if kind == "scorer":
        return scorer_and_features(num_rows)
    make = {"base": tiny.tiny_base, "super_res": tiny.tiny_super_res}[kind]
    model = make(num_layers=1)
    return model, tiny.tiny_data(model, num_rows)


def outputs_of_artifact(directory, model, inputs):
    if BACKEND == "torch":
        import torch

        path = directory / "model.pt2"
        model.export(path, format="torch", verbose=False)
        program = torch.export.load(path).module()
        with torch.no_grad():
            return program(keras.tree.map_structure(torch.tensor, inputs))
    import tensorflow as tf

    model.export(directory / "model", verbose=False)
    artifact = tf.saved_model.load(directory / "model")
    return artifact.serve(keras.tree.map_structure(tf.constant, inputs))


@pytest.mark.filterwarnings("ignore")  # of the exporters, at each other
@pytest.mark.parametrize("kind", ["tokenizer", "base"])
def test_an_artifact_gives_the_numbers_of_the_model(kind, tmp_path):
    model, inputs = model_and_inputs(kind, 1 if BACKEND == "torch" else 3)
    expected = model(inputs)
    if BACKEND != "torch":  # which fixes the number of rows
        inputs, expected = keras.tree.map_structure(
            lambda x: x[:2], (inputs, expected)
        )
    actual = outputs_of_artifact(tmp_path, model, inputs)
    for a, b in zip(
        keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-4)


def test_of_a_dict_what_a_call_takes_counts():
    seen = SeenInputs()
    assert seen.signature is None
    inputs = {"a": np.zeros((4, 2, 3), "int32"), "mask": np.zeros((4, 2))}
    known = {
        "a": Input(shapes=(("length", 3),)),
        "mask": Input(shapes=(("length",),), is_optional=True),
    }
    seen.look(inputs, known)
    seen.look({"a": np.zeros((5, 9))}, known)  # the first are kept
    ((name, spec),) = seen.signature[0].items()
    assert (name, spec.shape, spec.dtype) == ("a", (None, 2, 3), "int32")


def test_what_cannot_be_exported_is_refused_by_name(tmp_path):
    model, inputs = model_and_inputs("base")
    format = "torch" if BACKEND == "torch" else "tf_saved_model"
    with pytest.raises(ValueError, match="`input_signature` is needed"):
        model.export(tmp_path / "model", format=format)
    if BACKEND == "torch":
        with pytest.raises(ValueError, match="`format` on the Torch backend"):
            model.export(tmp_path / "model")
    assert not list(tmp_path.iterdir())
