import inspect
import json

import keras
import numpy as np
import pytest

from keras_muse.converters import clip
from keras_muse.data import read_token_shards
from keras_muse.data import write_token_shards
from keras_muse.models.text_encoders.clip_text_encoder import CLIPTextEncoder
from keras_muse.models.text_encoders.text_encoder import TextEncoder
from tests.helpers import tiny_clip
from tests.helpers.tiny import tiny_tokenizer
from tests.helpers.tiny_clip import TEXTS


def tiny_encoder(**kwargs):
    arguments = dict(
        vocabulary_size=10,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=24,
        max_sequence_length=8,
        end_token_id=9,
        sequence_length=6,
    )
    return CLIPTextEncoder(**{**arguments, **kwargs})


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A model of `transformers`, and it as read from its files."""
    directory = str(tmp_path_factory.mktemp("clip"))
    model = tiny_clip.save_model(directory)
    tiny_clip.save_tokenizer(directory)
    encoder = CLIPTextEncoder.from_preset(
        directory, sequence_length=tiny_clip.LENGTH
    )
    return model, directory, encoder


def test_row_0_is_the_prompt_and_the_others_its_tokens(published):
    model, directory, encoder = published
    embeddings, mask = encoder.encode(TEXTS[:4])
    token_ids = tiny_clip.reference_ids(directory, TEXTS[:4])
    expected = tiny_clip.reference_embeddings(model, token_ids)
    assert mask.shape == (4, tiny_clip.LENGTH + 1) and mask.all()
    assert embeddings.dtype == "float32"
    np.testing.assert_allclose(embeddings, expected, atol=1e-4, rtol=1e-4)
    # The empty prompt's rows are states, not zeros.
    assert (np.abs(embeddings[1]).max(axis=-1) > 0.1).all()


def test_a_long_prompt_keeps_its_end(published):
    model, directory, encoder = published
    with pytest.warns(UserWarning, match="1 of 1 texts were cut"):
        embeddings, _ = encoder.encode(TEXTS[4])
    token_ids = tiny_clip.reference_ids(directory, [TEXTS[4]])
    assert token_ids[0, -1] == encoder.end_token_id
    expected = tiny_clip.reference_embeddings(model, token_ids)
    np.testing.assert_allclose(embeddings, expected, atol=1e-4, rtol=1e-4)


def test_padding_is_the_padding_token_whatever_stands_there():
    keras.utils.set_random_seed(0)
    encoder = tiny_encoder()
    other = tiny_encoder(padding_token_id=3)
    other.set_weights(encoder.get_weights())
    token_ids = np.array([[8, 5, 9, 0, 0, 0]], "int32")
    mask = np.array([[1, 1, 1, 0, 0, 0]], "bool")

    def states(model, token_ids, mask):
        inputs = {"token_ids": token_ids, "padding_mask": mask}
        return keras.ops.convert_to_numpy(model(inputs))

    padded = states(encoder, token_ids, mask)
    explicit = np.array([[8, 5, 9, 9, 9, 9]], "int32")
    np.testing.assert_array_equal(
        padded, states(encoder, explicit, np.ones_like(mask))
    )
    changed = states(other, token_ids, mask)
    # Causal attention: of a prompt's own rows none sees the padding.
    np.testing.assert_allclose(changed[:, :4], padded[:, :4], atol=1e-6)
    assert np.abs(changed[:, 4:] - padded[:, 4:]).max() > 1e-3


def test_one_layer_gives_the_states_before_it():
    encoder = tiny_encoder(num_layers=1)
    token_ids = np.array([[8, 5, 9, 9, 9, 9]], "int32")
    inputs = {"token_ids": token_ids, "padding_mask": token_ids > 0}
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(encoder(inputs))[:, 1:],
        keras.ops.convert_to_numpy(encoder.embedding(token_ids)),
        atol=1e-6,
    )


def test_the_default_architecture_is_that_of_amused():
    arguments = clip.constructor_arguments(
        {
            "vocab_size": 49408,
            "hidden_size": 768,
            "projection_dim": 768,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "eos_token_id": 2,
        }
    )
    parameters = inspect.signature(CLIPTextEncoder).parameters
    assert {name: parameters[name].default for name in arguments} == arguments
    assert parameters["sequence_length"].default == 77


def test_presets_round_trip(published, tmp_path):
    _, _, encoder = published
    directory = str(tmp_path / "preset")
    encoder.save_to_preset(directory)
    config = json.loads((tmp_path / "preset" / "config.json").read_text())
    assert config["registered_name"] == "keras_muse>CLIPTextEncoder"
    copy = TextEncoder.from_preset(directory)
    assert type(copy) is CLIPTextEncoder
    np.testing.assert_array_equal(
        copy.encode(TEXTS[:4])[0], encoder.encode(TEXTS[:4])[0]
    )
    shorter = TextEncoder.from_preset(directory, sequence_length=9)
    assert shorter.encode("a red")[0].shape == (1, 10, 16)
    path = str(tmp_path / "encoder.keras")
    encoder.save(path)
    np.testing.assert_array_equal(
        keras.models.load_model(path).encode("red")[0],
        encoder.encode("red")[0],
    )


@pytest.mark.parametrize("store", ["text_embeddings", "text_ids"])
def test_token_shards_hold_every_row(store, published, tmp_path):
    _, _, encoder = published
    rows = [
        {"image": np.full((16, 16, 3), 9 * i, "uint8"), "text": text}
        for i, text in enumerate(["a red cat", "cat", "a cat a cat"])
    ]
    directory = str(tmp_path / "tokens")
    tokenizer = tiny_tokenizer()
    write_token_shards(
        rows, directory, tokenizer, encoder, store=store, verbose=0
    )
    batch = read_token_shards(
        directory, batch_size=3, shuffle=False, text_encoder=encoder
    )[0]
    expected, mask = encoder.encode([row["text"] for row in rows])
    np.testing.assert_array_equal(batch["text_mask"], mask)
    error = np.abs(batch["text_embeddings"] - expected)
    assert (error <= 2**-8 * np.abs(expected) + 1e-4).all()  # bfloat16


def test_the_config_round_trips():
    config = tiny_encoder(activation="gelu", padding_token_id=0).get_config()
    assert CLIPTextEncoder.from_config(config).get_config() == config


def test_a_quantized_preset_round_trips(tmp_path):
    keras.utils.set_random_seed(0)
    encoder = tiny_encoder(num_layers=1)
    token_ids = np.array([[8, 5, 9, 0, 0, 0]], "int32")
    inputs = {"token_ids": token_ids, "padding_mask": token_ids > 0}
    exact = encoder.predict_on_batch(inputs)
    encoder.quantize("int8")
    quantized = encoder.predict_on_batch(inputs)
    assert 0 < np.abs(quantized - exact).max() < 0.05 * np.abs(exact).max()
    encoder.save_to_preset(str(tmp_path / "preset"))
    copy = TextEncoder.from_preset(str(tmp_path / "preset"))
    layer = copy.encoder_layers[0]
    assert layer.dense_1.quantization_mode == "int8"
    assert layer.attention.query_dense.quantization_mode == "int8"
    np.testing.assert_allclose(
        copy.predict_on_batch(inputs), quantized, atol=1e-6
    )


def test_bfloat16_is_close():
    keras.utils.set_random_seed(0)
    exact = tiny_encoder(num_layers=1)
    coarse = tiny_encoder(num_layers=1, dtype="bfloat16")
    coarse.set_weights(exact.get_weights())
    token_ids = np.array([[8, 5, 9, 0, 0, 0]], "int32")
    inputs = {"token_ids": token_ids, "padding_mask": token_ids > 0}
    assert coarse.weights[0].dtype == "bfloat16"
    expected = exact.predict_on_batch(inputs)
    error = coarse.predict_on_batch(inputs).astype("float32") - expected
    assert 0 < np.linalg.norm(error) < 0.05 * np.linalg.norm(expected)


def test_it_is_frozen_and_takes_lora():
    encoder = tiny_encoder()
    assert encoder.trainable_weights == []
    encoder.trainable = True
    encoder.enable_lora(2)
    paths = [weight.path for weight in encoder.trainable_weights]
    assert sum("/lora_kernel_" in path for path in paths) == 2 * 2 * 2
    others = [path for path in paths if "/lora_kernel_" not in path]
    assert all(path.endswith(("query/bias", "value/bias")) for path in others)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"activation": "relu"}, "`activation` must be one of"),
        ({"num_heads": 3}, "`hidden_dim` must be divisible"),
        ({"sequence_length": 9}, "`sequence_length` must not exceed"),
        ({"sequence_length": 1}, "`sequence_length` must be an integer"),
    ],
)
def test_bad_arguments_raise(arguments, message):
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        tiny_encoder(**arguments)


def test_a_vocabulary_of_another_end_token_raises(published):
    vocabulary = clip.tokenizer_arguments(published[1])["vocabulary"]
    with pytest.raises(ValueError, match="end_token_id=9, and \\[518, 519\\]"):
        tiny_encoder(vocabulary_size=600, vocabulary=vocabulary)
    with pytest.raises(ValueError, match="more than the embedding has rows"):
        tiny_encoder(
            vocabulary_size=519, end_token_id=519, vocabulary=vocabulary
        )
