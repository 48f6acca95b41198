import copy
import io
import json
import os
import shutil

import h5py
import keras
import keras_hub
import numpy as np
import pytest
import safetensors.numpy
import sentencepiece
import torch
import transformers
from keras_hub.src.utils import preset_utils
from transformers.models.t5.modeling_t5 import T5Attention

from keras_muse.models.text_encoders import t5_layers
from keras_muse.models.text_encoders.t5_text_encoder import T5TextEncoder
from keras_muse.models.text_encoders.text_encoder import TextEncoder

LENGTH = 20
TEXTS = ["the red apple", "", "a cat on the mat"]


def train_vocabulary():
    sentences = ["the red apple", "a cat sleeps on the mat", "red cat apple"]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=32,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        pad_piece="<pad>",
        eos_piece="</s>",
        unk_piece="<unk>",
        hard_vocab_limit=False,
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def vocabulary():
    return train_vocabulary()


def save_hugging_face(directory, vocabulary, feed_forward, **kwargs):
    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=40,
            d_model=16,
            d_kv=6,
            d_ff=24,
            num_layers=3,
            num_decoder_layers=3,
            num_heads=4,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=10,
            feed_forward_proj=feed_forward,
            initializer_factor=3.0,
            tie_word_embeddings=False,
        )
    ).eval()
    for name, parameter in model.named_parameters():
        if "layer_norm" in name:
            torch.nn.init.normal_(parameter, mean=1.0, std=0.3)
    model.save_pretrained(directory, **kwargs)
    with open(os.path.join(directory, "spiece.model"), "wb") as file:
        file.write(vocabulary)
    return model.encoder


def reference_states(model, tokens):
    with torch.no_grad():
        states = model(
            input_ids=torch.tensor(tokens["token_ids"], dtype=torch.long),
            attention_mask=torch.tensor(tokens["padding_mask"]).long(),
        ).last_hidden_state
    return states.float().numpy()


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory, vocabulary):
    """A small random T5 1.1 of `transformers`, and its directory."""
    directory = str(tmp_path_factory.mktemp("hugging_face"))
    return save_hugging_face(directory, vocabulary, "gated-gelu"), directory


def save_keras_hub(directory, vocabulary, **kwargs):
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.T5Backbone(
        **{
            "vocabulary_size": 40,
            "num_layers": 3,
            "num_heads": 4,
            "hidden_dim": 16,
            "intermediate_dim": 24,
            "key_value_dim": 6,
            "activation": "gelu",
            "tie_embedding_weights": False,
            **kwargs,
        }
    )
    for weight in backbone.weights:
        if weight.path.endswith("layer_norm/weight"):
            noise = keras.random.normal(weight.shape, stddev=0.3)
            weight.assign_add(keras.ops.cast(noise, weight.dtype))
    backbone.save_to_preset(directory)
    tokenizer = keras_hub.tokenizers.T5Tokenizer(proto=vocabulary)
    tokenizer.save_to_preset(directory)
    return backbone


@pytest.fixture(scope="module")
def hub(tmp_path_factory, vocabulary):
    """A small random T5 preset of KerasHub: the model and the directory."""
    directory = str(tmp_path_factory.mktemp("keras_hub"))
    return save_keras_hub(directory, vocabulary), directory


def hub_states(backbone, tokens):
    ids = tokens["token_ids"]
    mask = tokens["padding_mask"].astype("int32")
    states = backbone(
        {
            "encoder_token_ids": ids,
            "encoder_padding_mask": mask,
            "decoder_token_ids": ids,
            "decoder_padding_mask": mask,
        }
    )["encoder_sequence_output"]
    return keras.ops.convert_to_numpy(states)


@pytest.mark.parametrize("feed_forward", ["relu", "gated-gelu", "gelu"])
def test_it_equals_transformers(feed_forward, vocabulary, tmp_path):
    model = save_hugging_face(str(tmp_path), vocabulary, feed_forward)
    encoder = T5TextEncoder.from_preset(str(tmp_path), sequence_length=LENGTH)
    embeddings, mask = encoder.encode(TEXTS)
    tokens = encoder.tokenize(TEXTS)
    expected = reference_states(model, tokens)
    assert mask[1].sum() == 1  # the empty prompt is its end token
    assert not mask.all()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(embeddings[mask], expected[mask], atol=1e-4)


def test_shards_hold_the_same_weights(hugging_face, vocabulary, tmp_path):
    save_hugging_face(
        str(tmp_path), vocabulary, "gated-gelu", max_shard_size="8KB"
    )
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    decoder_only = {
        file
        for file in index["weight_map"].values()
        if not any(
            name.startswith(("encoder.", "shared."))
            for name, other in index["weight_map"].items()
            if other == file
        )
    }
    assert decoder_only
    for file in decoder_only:
        os.remove(tmp_path / file)  # the encoder does without them
    sharded = T5TextEncoder.from_preset(str(tmp_path))
    whole = T5TextEncoder.from_preset(hugging_face[1])
    for ours, theirs in zip(
        sharded.get_weights(), whole.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_it_equals_keras_hub(hub):
    backbone, directory = hub
    encoder = T5TextEncoder.from_preset(directory, sequence_length=LENGTH)
    embeddings, mask = encoder.encode(TEXTS)
    expected = hub_states(backbone, encoder.tokenize(TEXTS))
    np.testing.assert_allclose(embeddings[mask], expected[mask], atol=1e-4)
    # No decoder, no head, no second embedding.
    assert encoder.count_params() < 0.4 * backbone.count_params()
    assert encoder.preset == directory
    assert not encoder.trainable


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_keras_hub_shards_hold_the_same_weights(dtype, vocabulary, tmp_path):
    whole = str(tmp_path / "whole")
    backbone = save_keras_hub(whole, vocabulary, dtype=dtype)
    sharded = str(tmp_path / "sharded")
    shutil.copytree(whole, sharded)
    os.remove(os.path.join(sharded, "model.weights.h5"))
    backbone.save_weights(
        os.path.join(sharded, "model.weights.json"), max_shard_size=1e-5
    )
    assert len(os.listdir(sharded)) > len(os.listdir(whole)) + 2
    ours = T5TextEncoder.from_preset(whole)
    theirs = T5TextEncoder.from_preset(sharded)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    embeddings = keras.ops.convert_to_numpy(
        keras.ops.cast(backbone.token_embedding.embeddings, "float32")
    )
    np.testing.assert_array_equal(ours.get_weights()[0], embeddings)


def test_the_published_names_are_known(hub, monkeypatch):
    assert {"t5_1.1_small", "t5_1.1_xl", "t5_1.1_xxl"} <= set(
        T5TextEncoder.presets
    )
    # What KerasHub downloads for a name, without the download.
    monkeypatch.setitem(
        preset_utils.BUILTIN_PRESETS,
        "t5_1.1_xxl",
        {"kaggle_handle": hub[1]},
    )
    encoder = TextEncoder.from_preset("t5_1.1_xxl")
    assert type(encoder) is T5TextEncoder
    assert encoder.preset == "t5_1.1_xxl"
    assert encoder.sequence_length == 128


def test_pieces_are_those_of_keras_hub(hub):
    encoder = T5TextEncoder.from_preset(hub[1], sequence_length=LENGTH)
    tokenizer = keras_hub.tokenizers.T5Tokenizer.from_preset(hub[1])
    tokens = encoder.tokenize(TEXTS)
    for i, text in enumerate(TEXTS):
        ids = tokens["token_ids"][i][tokens["padding_mask"][i]]
        expected = np.asarray(tokenizer(text)).tolist()
        assert ids.tolist() == [*expected, tokenizer.end_token_id]


def test_a_preset_of_its_own_round_trips(hugging_face, tmp_path):
    encoder = T5TextEncoder.from_preset(hugging_face[1], sequence_length=LENGTH)
    directory = str(tmp_path / "preset")
    encoder.save_to_preset(directory)
    config = json.loads((tmp_path / "preset/config.json").read_text())
    assert config["registered_name"] == "keras_muse>T5TextEncoder"
    loaded = TextEncoder.from_preset(directory)
    assert loaded.get_config() == encoder.get_config()
    np.testing.assert_array_equal(
        loaded.encode(TEXTS)[0], encoder.encode(TEXTS)[0]
    )


def test_padding_and_batch_do_not_change_a_text(hugging_face):
    short = T5TextEncoder.from_preset(hugging_face[1], sequence_length=LENGTH)
    long = T5TextEncoder.from_preset(hugging_face[1], sequence_length=40)
    np.testing.assert_allclose(
        long.encode(TEXTS)[0][:, :LENGTH], short.encode(TEXTS)[0], atol=1e-5
    )
    tokens = short.tokenize(TEXTS)
    mask = tokens["padding_mask"]
    other = {**tokens, "token_ids": np.where(mask, tokens["token_ids"], 7)}
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(short(tokens))[mask],
        keras.ops.convert_to_numpy(short(other))[mask],
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "length, buckets, distance", [(300, 32, 128), (40, 8, 10)]
)
def test_buckets_are_those_of_transformers(length, buckets, distance):
    positions = torch.arange(length)
    expected = T5Attention._relative_position_bucket(
        positions[None, :] - positions[:, None],
        bidirectional=True,
        num_buckets=buckets,
        max_distance=distance,
    )
    np.testing.assert_array_equal(
        t5_layers.relative_position_buckets(length, buckets, distance),
        expected.numpy(),
    )


def test_float16_is_refused():
    tiny = dict(
        vocabulary_size=8,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
    )
    for dtype in ("float16", "mixed_float16"):
        with pytest.raises(ValueError, match=f"`dtype`.*dtype='{dtype}'"):
            T5TextEncoder(**tiny, dtype=dtype)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with pytest.raises(ValueError, match="overflows in float16"):
            T5TextEncoder(**tiny)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_bfloat16_is_as_close_as_that_of_transformers(dtype, hugging_face):
    model, directory = hugging_face
    encoder = T5TextEncoder.from_preset(
        directory, sequence_length=LENGTH, dtype=dtype
    )
    assert encoder.compute_dtype == "bfloat16"
    embeddings, mask = encoder.encode(TEXTS)
    assert embeddings.dtype == "float32"
    tokens = encoder.tokenize(TEXTS)
    exact = reference_states(model, tokens)
    theirs = reference_states(copy.deepcopy(model).bfloat16(), tokens)

    def mean_error(states):
        return np.abs(states - exact)[mask].mean()

    assert 0 < mean_error(embeddings) < 1.2 * mean_error(theirs)


def test_the_norm_is_float32_under_bfloat16():
    # A mean over 4096 numbers of which bfloat16 could add up only 256.
    norm = keras.layers.RMSNormalization(epsilon=1e-6, dtype="bfloat16")
    x = np.full((1, 4096), 3.0, "float32")
    y = keras.ops.convert_to_numpy(keras.ops.cast(norm(x), "float32"))
    np.testing.assert_allclose(y, 1.0, atol=1e-2)
    layer = t5_layers.T5EncoderLayer(
        num_heads=2,
        key_value_dim=4,
        hidden_dim=8,
        intermediate_dim=8,
        activation="relu",
        use_gated_activation=False,
        layer_norm_epsilon=1e-6,
        dtype="bfloat16",
    )
    assert type(layer.attention_norm) is keras.layers.RMSNormalization


def edit_hugging_face(directory, target, edit):
    """A copy of a directory whose tensors were edited."""
    shutil.copytree(directory, target)
    path = os.path.join(target, "model.safetensors")
    tensors = safetensors.numpy.load_file(path)
    edit(tensors)
    safetensors.numpy.save_file(tensors, path)
    return str(target)


def test_damaged_hugging_face_tensors_are_refused_by_name(
    hugging_face, tmp_path
):
    name = "encoder.block.2.layer.1.DenseReluDense.wi_1.weight"
    missing = edit_hugging_face(
        hugging_face[1], tmp_path / "missing", lambda t: t.pop(name)
    )
    with pytest.raises(ValueError, match=f"`{name}` is missing.*Received"):
        T5TextEncoder.from_preset(missing)
    shape = edit_hugging_face(
        hugging_face[1],
        tmp_path / "shape",
        lambda t: t.update({name: np.zeros((24, 15), "float32")}),
    )
    with pytest.raises(ValueError, match=r"wi_1.weight` does.*\(24, 15\)"):
        T5TextEncoder.from_preset(shape)
    extra = edit_hugging_face(
        hugging_face[1],
        tmp_path / "extra",
        lambda t: t.update({f"{name}.more": np.zeros(3, "float32")}),
    )
    with pytest.raises(ValueError, match=f"`{name}.more` has no place"):
        T5TextEncoder.from_preset(extra)
    truncated = tmp_path / "truncated"
    shutil.copytree(hugging_face[1], truncated)
    contents = (truncated / "model.safetensors").read_bytes()
    (truncated / "model.safetensors").write_bytes(contents[:-100])
    with pytest.raises(ValueError, match="/model.safetensors` cannot be read"):
        T5TextEncoder.from_preset(str(truncated))
    os.remove(truncated / "model.safetensors")
    with pytest.raises(ValueError, match="`preset` has neither"):
        T5TextEncoder.from_preset(str(truncated))


def test_the_embedding_may_have_the_encoder_s_name(hugging_face, tmp_path):
    whole = T5TextEncoder.from_preset(hugging_face[1])
    for case in ("renamed", "both"):

        def edit(tensors, case=case):
            table = tensors["shared.weight"].copy()
            tensors["encoder.embed_tokens.weight"] = table
            if case == "renamed":
                del tensors["shared.weight"]

        directory = edit_hugging_face(hugging_face[1], tmp_path / case, edit)
        ours = T5TextEncoder.from_preset(directory)
        np.testing.assert_array_equal(
            ours.get_weights()[0], whole.get_weights()[0]
        )


def test_damaged_keras_hub_tensors_are_refused_by_name(hub, tmp_path):
    name = "layers/t5_transformer_layer_2/gate_projector/vars/0"
    for case, value in (("missing", None), ("shape", np.zeros((16, 23)))):
        shutil.copytree(hub[1], tmp_path / case)
        with h5py.File(tmp_path / case / "model.weights.h5", "a") as file:
            del file[name]
            if value is not None:
                file[name] = value
    with pytest.raises(ValueError, match=f"`{name}` is missing"):
        T5TextEncoder.from_preset(str(tmp_path / "missing"))
    with pytest.raises(ValueError, match=f"`{name}` has shape"):
        T5TextEncoder.from_preset(str(tmp_path / "shape"))
    path = tmp_path / "missing" / "model.weights.h5"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="cannot be read"):
        T5TextEncoder.from_preset(str(tmp_path / "missing"))


@pytest.mark.parametrize("num_layers", [2, 4])
def test_a_wrong_layer_count_is_not_loaded_silently(num_layers, hub):
    # Decoder layers have tensors of the same names and shapes.
    with pytest.raises(ValueError, match="encoder layers and as many decoder"):
        T5TextEncoder.from_preset(hub[1], num_layers=num_layers)


def test_the_activation_can_be_the_one_t5_was_trained_with(hub):
    exact = T5TextEncoder.from_preset(hub[1], sequence_length=LENGTH)
    tanh = T5TextEncoder.from_preset(
        hub[1], sequence_length=LENGTH, activation="gelu_approximate"
    )
    difference = np.abs(exact.encode(TEXTS)[0] - tanh.encode(TEXTS)[0]).max()
    assert 0 < difference < 0.05
    with pytest.raises(ValueError, match="`activation` must be one of"):
        T5TextEncoder.from_preset(hub[1], activation="swish")


def test_unsupported_configurations_raise(hugging_face, tmp_path):
    shutil.copytree(hugging_face[1], tmp_path / "copy")
    path = tmp_path / "copy" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "feed_forward_proj": "gated-silu"}))
    with pytest.raises(ValueError, match="`feed_forward_proj` must be one of"):
        T5TextEncoder.from_preset(str(tmp_path / "copy"))
