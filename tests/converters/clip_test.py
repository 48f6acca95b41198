import json
import os
import shutil

import keras
import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers
from keras_hub.src.utils import preset_utils

from keras_muse.converters import clip
from keras_muse.models.text_encoders.clip_text_encoder import CLIPTextEncoder
from keras_muse.models.text_encoders.text_encoder import TextEncoder
from tests.helpers import tiny_clip
from tests.helpers.tiny_clip import TEXTS


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A directory with a model and its tokenizer, and the model."""
    directory = str(tmp_path_factory.mktemp("clip"))
    model = tiny_clip.save_model(directory)
    tiny_clip.save_tokenizer(directory)
    return model, directory


def check_equal(encoder, model, tokenizer_directory):
    with pytest.warns(UserWarning, match="1 of 5 texts were cut"):
        embeddings, mask = encoder.encode(TEXTS)
    token_ids = tiny_clip.reference_ids(tokenizer_directory, TEXTS)
    expected = tiny_clip.reference_embeddings(model, token_ids)
    assert embeddings.shape == (5, tiny_clip.LENGTH + 1, 16)
    assert mask.shape == embeddings.shape[:2] and mask.all()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(embeddings, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_it_equals_transformers(activation, tmp_path):
    directory = str(tmp_path)
    model = tiny_clip.save_model(directory, hidden_act=activation)
    tiny_clip.save_tokenizer(directory)
    encoder = CLIPTextEncoder.from_preset(
        directory, sequence_length=tiny_clip.LENGTH
    )
    assert encoder.activation == activation
    check_equal(encoder, model, directory)


def test_token_ids_are_those_of_transformers(published, tmp_path):
    _, directory = published
    expected = tiny_clip.reference_ids(directory, TEXTS).numpy()
    # transformers saves what it read as `tokenizer.json`.
    tokenizer = transformers.CLIPTokenizer.from_pretrained(directory)
    tokenizer.save_pretrained(str(tmp_path / "resaved"))
    assert (tmp_path / "resaved" / "tokenizer.json").exists()
    for place in (directory, str(tmp_path / "resaved")):
        arguments = clip.tokenizer_arguments(place)
        encoder = CLIPTextEncoder(
            **clip.constructor_arguments(tiny_clip.text_config()),
            **arguments,
            sequence_length=tiny_clip.LENGTH,
        )
        with pytest.warns(UserWarning, match="were cut"):
            tokens = encoder.tokenize(TEXTS)
        mask = tokens["padding_mask"]
        np.testing.assert_array_equal(tokens["token_ids"][mask], expected[mask])
        assert (expected[~mask] == encoder.padding_token_id).all()
        assert mask.sum(axis=1)[1] == 2  # the empty prompt: start and end


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A directory of folders, as `diffusers` saves it, and the model."""
    directory = tmp_path_factory.mktemp("pipeline")
    model = tiny_clip.save_model(str(directory / "text_encoder"))
    tiny_clip.save_tokenizer(str(directory / "tokenizer"))
    components = {
        "_class_name": "AmusedPipeline",
        "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
    }
    (directory / "model_index.json").write_text(json.dumps(components))
    return model, str(directory)


@pytest.mark.parametrize("folder", ["", "text_encoder"])
def test_a_pipeline_of_diffusers_is_read_by_its_folders(folder, pipeline):
    model, directory = pipeline
    place = os.path.join(directory, folder)
    encoder = TextEncoder.from_preset(place, sequence_length=tiny_clip.LENGTH)
    assert encoder.preset == place
    check_equal(encoder, model, os.path.join(directory, "tokenizer"))


def test_a_pipeline_is_read_from_a_handle(pipeline, monkeypatch):
    model, directory = pipeline
    get_file = preset_utils.get_file

    def get_file_of_hub(preset, path):
        # A hub knows names inside a repository, and nothing else.
        assert preset == "hf://amused/amused-256"
        assert not path.startswith(("/", "."))
        return get_file(directory, path)

    monkeypatch.setattr(preset_utils, "get_file", get_file_of_hub)
    encoder = CLIPTextEncoder.from_preset(
        "hf://amused/amused-256", sequence_length=tiny_clip.LENGTH
    )
    assert encoder.preset == "hf://amused/amused-256"
    expected = model.text_projection.weight.detach().numpy().T
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(encoder.text_projection.kernel), expected
    )
    assert encoder.tokenize("a red")["padding_mask"].sum() == 4


def test_another_padding_token_is_kept(tmp_path):
    directory = str(tmp_path)
    model = tiny_clip.save_model(directory)
    tiny_clip.save_tokenizer(directory, pad_token="!")
    encoder = CLIPTextEncoder.from_preset(
        directory, sequence_length=tiny_clip.LENGTH
    )
    assert encoder.padding_token_id == tiny_clip.pieces().index("!")
    check_equal(encoder, model, directory)


def test_the_end_token_of_old_configurations_is_the_highest_id(
    published, tmp_path
):
    _, directory = published
    model = tiny_clip.save_model(str(tmp_path), eos_token_id=2)
    tiny_clip.save_tokenizer(str(tmp_path))
    encoder = CLIPTextEncoder.from_preset(
        str(tmp_path), sequence_length=tiny_clip.LENGTH
    )
    assert encoder.end_token_id == len(tiny_clip.pieces()) - 1
    check_equal(encoder, model, directory)


def test_the_text_half_of_a_whole_clip_is_read(tmp_path):
    torch.manual_seed(0)
    whole = transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=tiny_clip.text_config(projection_dim=8),
            vision_config={
                "hidden_size": 8,
                "intermediate_size": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 8,
                "patch_size": 4,
            },
            projection_dim=16,
        )
    ).eval()
    tiny_clip.shake(whole)
    whole.save_pretrained(str(tmp_path))
    tiny_clip.save_tokenizer(str(tmp_path))
    encoder = CLIPTextEncoder.from_preset(
        str(tmp_path), sequence_length=tiny_clip.LENGTH
    )
    token_ids = tiny_clip.reference_ids(str(tmp_path), TEXTS[:4])
    with torch.no_grad():
        features = whole.get_text_features(token_ids)
    features = getattr(features, "pooler_output", features).numpy()
    embeddings = encoder.encode(TEXTS[:4])[0]
    np.testing.assert_allclose(embeddings[:, 0], features, atol=1e-4, rtol=1e-4)


# === Bad input ===


def edited(directory, target, edit):
    """A copy of a directory whose tensors were edited."""
    shutil.copytree(directory, target)
    path = os.path.join(target, "model.safetensors")
    tensors = safetensors.numpy.load_file(path)
    edit(tensors)
    safetensors.numpy.save_file(tensors, path)
    return str(target)


@pytest.mark.parametrize(
    "name, tensor, message",
    [
        ("text_projection.weight", None, "is missing"),
        ("text_model.encoder.layers.2.mlp.fc1.bias", (24,), "has no place"),
        (
            "text_model.encoder.layers.1.self_attn.q_proj.weight",
            (16, 15),
            "does not fit",
        ),
        (
            "text_model.encoder.layers.1.self_attn.out_proj.bias",
            (2, 8),
            "does not fit",
        ),
        (
            "text_model.embeddings.position_embedding.weight",
            (41, 16),
            "does not fit",
        ),
    ],
)
def test_wrong_tensors_are_refused_by_name(
    name, tensor, message, published, tmp_path
):
    def edit(tensors):
        tensors.pop(name, None)
        if tensor is not None:
            tensors[name] = np.zeros(tensor, "float32")

    directory = edited(published[1], tmp_path / "copy", edit)
    with pytest.raises(ValueError, match=f"`{name}` {message}.*Received"):
        CLIPTextEncoder.from_preset(directory, sequence_length=8)


def test_the_position_ids_of_old_files_are_ignored(published, tmp_path):
    name = "text_model.embeddings.position_ids"
    directory = edited(
        published[1],
        tmp_path / "copy",
        lambda tensors: tensors.update({name: np.arange(12)[None]}),
    )
    old = CLIPTextEncoder.from_preset(directory, sequence_length=8)
    new = CLIPTextEncoder.from_preset(published[1], sequence_length=8)
    np.testing.assert_array_equal(old.encode("a")[0], new.encode("a")[0])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"projection_dim": 8}, "`projection_dim` must equal"),
        ({"layer_norm_eps": 1e-6}, "`layer_norm_eps` must be 1e-05"),
        ({"hidden_act": "relu"}, "`activation` must be one of"),
        ({"model_type": "clip_vision_model"}, "`preset` has no model that"),
        ({"eos_token_id": 7}, "`vocabulary` must put a start token"),
    ],
)
def test_unsupported_configurations_raise(
    settings, message, published, tmp_path
):
    shutil.copytree(published[1], tmp_path / "copy")
    path = tmp_path / "copy" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, **settings}))
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        CLIPTextEncoder.from_preset(
            str(tmp_path / "copy"), sequence_length=tiny_clip.LENGTH
        )


def test_a_missing_tokenizer_or_padding_token_raises(published, tmp_path):
    shutil.copytree(published[1], tmp_path / "copy")
    tiny_clip.save_tokenizer(str(tmp_path / "copy"), pad_token="[PAD]")
    with pytest.raises(ValueError, match="`pad_token` must be in.*PAD"):
        CLIPTextEncoder.from_preset(str(tmp_path / "copy"), sequence_length=8)
    os.remove(tmp_path / "copy" / "merges.txt")
    with pytest.raises(ValueError, match="no tokenizer: none of.*merges.txt"):
        CLIPTextEncoder.from_preset(str(tmp_path / "copy"), sequence_length=8)
