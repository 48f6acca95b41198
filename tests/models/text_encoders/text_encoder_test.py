import gc
import json
import os
import warnings
import weakref

import keras
import numpy as np
import pytest

from keras_muse.models.text_encoders.clip_text_encoder import CLIPTextEncoder
from keras_muse.models.text_encoders.minilm_text_encoder import (
    MiniLMTextEncoder,
)
from keras_muse.models.text_encoders.t5_text_encoder import T5TextEncoder
from keras_muse.models.text_encoders.text_encoder import TextEncoder

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "apple", "##s"]


def tiny_encoder(**kwargs):
    arguments = dict(
        vocabulary_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=10,
        sequence_length=6,
        vocabulary=PIECES,
    )
    return MiniLMTextEncoder(**{**arguments, **kwargs})


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    return tiny_encoder()


def test_tokenize_pads_to_the_sequence_length(encoder):
    tokens = encoder.tokenize(["a red apples", ""])
    np.testing.assert_array_equal(
        tokens["token_ids"], [[2, 4, 5, 6, 7, 3], [2, 3, 0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(
        tokens["padding_mask"], [[True] * 6, [True, True, *[False] * 4]]
    )
    assert tokens["token_ids"].dtype == "int32"
    assert tokens["padding_mask"].dtype == "bool"


def test_long_texts_are_cut_with_one_warning_and_keep_their_end(encoder):
    texts = ["a red apple a red apple", "a", "a a a a a"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        token_ids = encoder.tokenize(texts)["token_ids"]
    messages = [str(w.message) for w in caught if "were cut" in str(w.message)]
    assert len(messages) == 1
    assert messages[0].startswith("2 of 3 texts")
    assert encoder.is_cut(texts) == [True, False, True]
    assert encoder.is_cut(["a red apples", ""]) == [False, False]  # they fit
    np.testing.assert_array_equal(token_ids[0], [2, 4, 5, 6, 4, 3])


@pytest.mark.parametrize("texts", [b"a", 3, ["a", None], ["a", ["a"]]])
def test_texts_that_are_not_strings_raise(encoder, texts):
    with pytest.raises(ValueError, match="`texts` must be .*Received"):
        encoder.encode(texts)


def test_tokenize_without_a_vocabulary_raises():
    with pytest.raises(ValueError, match="`tokenize` needs a vocabulary"):
        tiny_encoder(vocabulary=None).tokenize("a")


def test_a_vocabulary_larger_than_the_embedding_raises():
    with pytest.raises(ValueError, match="vocabulary_size=7"):
        tiny_encoder(vocabulary_size=7)


@pytest.mark.parametrize("sequence_length", [1, 2.5, "8"])
def test_a_bad_sequence_length_raises(sequence_length):
    with pytest.raises(ValueError, match="`sequence_length` must be"):
        tiny_encoder(sequence_length=sequence_length)


def test_encode_is_the_model_with_zeros_at_padding(encoder):
    texts = ["a", "red apple", ""]
    embeddings, mask = encoder.encode(texts)
    tokens = encoder.tokenize(texts)
    states = keras.ops.convert_to_numpy(encoder(tokens))
    np.testing.assert_array_equal(mask, tokens["padding_mask"])
    np.testing.assert_allclose(embeddings[mask], states[mask], atol=1e-5)
    assert (embeddings[~mask] == 0).all()
    assert np.abs(states[~mask]).max() > 0.1  # the model does not zero them
    assert embeddings.dtype == "float32"
    assert embeddings.shape == (3, 6, encoder.text_dim)


def test_padding_does_not_change_a_text():
    keras.utils.set_random_seed(0)
    short = tiny_encoder(sequence_length=4)
    long = tiny_encoder(sequence_length=9)
    long.set_weights(short.get_weights())
    np.testing.assert_allclose(
        long.encode("red apple")[0][:, :4],
        short.encode("red apple")[0],
        atol=1e-5,
    )


def test_one_shape_serves_every_batch(encoder, monkeypatch):
    shapes = []
    predict_on_batch = encoder.predict_on_batch

    def record(tokens):
        shapes.append(tokens["token_ids"].shape)
        return predict_on_batch(tokens)

    monkeypatch.setattr(encoder, "predict_on_batch", record)
    texts = ["a", "red", "apple", "a red", ""]
    in_twos = encoder.encode(texts, batch_size=2)[0]
    assert shapes == [(2, 6)] * 3
    shapes.clear()
    at_once = encoder.encode(texts)[0]
    assert shapes == [(8, 6)]  # the next power of two
    np.testing.assert_allclose(in_twos, at_once, atol=1e-5)


def test_the_program_is_traced_once(encoder):
    traces = []

    class Counting(keras.layers.Layer):
        def call(self, x):
            traces.append(x.shape)
            return x

    inputs = TextEncoder.make_inputs(6)
    x = encoder.token_embedding(inputs["token_ids"])
    counting = TextEncoder(
        inputs=inputs,
        outputs=Counting()(x),
        sequence_length=6,
        text_dim=16,
    )
    counting._tokenizer = encoder._tokenizer
    counting._tokenize_to_lists = encoder._tokenize_to_lists
    counting.encode(["a"] * 3, batch_size=2)
    num_traces = len(traces)
    counting.encode(["red"] * 4, batch_size=2)
    counting.encode("apple", batch_size=2)
    if keras.config.backend() != "torch":  # which runs eagerly
        assert len(traces) == num_traces


def test_encode_without_texts(encoder):
    embeddings, mask = encoder.encode([])
    assert embeddings.shape == (0, 6, 16)
    assert mask.shape == (0, 6)


@pytest.mark.parametrize("batch_size", [0, 1.5])
def test_a_bad_batch_size_raises(encoder, batch_size):
    with pytest.raises(ValueError, match="`batch_size` must be"):
        encoder.encode(["a"], batch_size=batch_size)


def test_lists_are_arrays(encoder):
    tokens = encoder.tokenize(["a red apple"])
    lists = {name: x.tolist() for name, x in tokens.items()}
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(encoder(lists)),
        keras.ops.convert_to_numpy(encoder(tokens)),
    )


def test_verbose_shows_progress(encoder, capsys):
    encoder.encode(["a", "red", "apple"], batch_size=2)
    assert capsys.readouterr().out == ""
    encoder.encode(["a", "red", "apple"], batch_size=2, verbose=1)
    assert "3/3" in capsys.readouterr().out
    with pytest.raises(ValueError, match="`verbose` must be one of.*'x'"):
        encoder.encode("a", verbose="x")


def test_it_is_frozen(encoder):
    assert not encoder.trainable
    assert encoder.trainable_weights == []
    assert len(encoder.weights) > 10


def test_release_frees_the_weights(tmp_path):
    encoder = tiny_encoder()
    good = tmp_path / "good.keras"
    encoder.save(good)
    saved = good.read_bytes()
    encoder.encode("a")
    values = [weakref.ref(weight.value) for weight in encoder.weights]
    encoder.release()
    gc.collect()
    for value in values:
        # Under torch the parameter lives on, empty.
        assert value() is None or value().untyped_storage().nbytes() == 0
    for use in (
        lambda: encoder.encode("a"),
        lambda: encoder(encoder.tokenize("a")),
        lambda: encoder.save_to_preset("never_written"),
        lambda: encoder.save(good),
        lambda: encoder.save_weights("never_written.weights.h5"),
        lambda: encoder.quantize("int8"),
    ):
        with pytest.raises(ValueError, match="were freed by `release\\(\\)`"):
            use()
    assert not os.path.exists("never_written")
    assert not os.path.exists("never_written.weights.h5")
    assert good.read_bytes() == saved
    assert (encoder.text_dim, encoder.sequence_length) == (16, 6)
    assert encoder.tokenize("a")["token_ids"].shape == (1, 6)


NUMBERS = {
    "vocabulary_size": 9,
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 12,
    "sequence_length": 4,
}
MORE_NUMBERS = {
    MiniLMTextEncoder: {"max_sequence_length": 4},
    CLIPTextEncoder: {
        "max_sequence_length": 4,
        "end_token_id": 8,
        "padding_token_id": 0,
    },
    T5TextEncoder: {"key_value_dim": 4, "num_buckets": 8, "max_distance": 9},
}


@pytest.mark.parametrize("cls", MORE_NUMBERS)
def test_integers_of_other_libraries_are_ints(cls):
    numbers = {**NUMBERS, **MORE_NUMBERS[cls]}
    encoder = cls(**{name: np.int64(x) for name, x in numbers.items()})
    config = json.loads(json.dumps(encoder.get_config()))
    assert {name: config[name] for name in numbers} == numbers
    for name in numbers:
        with pytest.raises(ValueError, match=f"`{name}` must be.*{name}=2.5"):
            cls(**{**numbers, name: 2.5})


def test_the_config_round_trips(encoder):
    config = encoder.get_config()
    copy = MiniLMTextEncoder.from_config(config)
    assert copy.get_config() == config
    assert copy.sequence_length == 6


def test_a_preset_round_trips(encoder, tmp_path):
    directory = str(tmp_path / "preset")
    encoder.save_to_preset(directory)
    assert sorted(os.listdir(directory)) == [
        "assets",
        "config.json",
        "metadata.json",
        "model.weights.h5",
    ]
    copy = TextEncoder.from_preset(directory)
    assert type(copy) is MiniLMTextEncoder
    assert copy.preset == directory
    assert encoder.preset is None
    for texts in (["a red apple", ""], "apples"):
        for ours, theirs in zip(
            copy.encode(texts), encoder.encode(texts), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    longer = TextEncoder.from_preset(directory, sequence_length=8)
    assert longer.encode("a")[0].shape == (1, 8, 16)
    random = TextEncoder.from_preset(directory, load_weights=False)
    assert np.abs(random.encode("a")[0] - encoder.encode("a")[0]).max() > 0.1


def test_no_weight_of_a_preset_is_left_out_in_silence(encoder, tmp_path):
    directory = str(tmp_path)
    encoder.save_to_preset(directory)
    for options, words in (
        ({"num_layers": 1}, "`num_layers` would leave out.*encoder_layer_1"),
        ({"num_layers": 3}, "`num_layers` would need.*encoder_layer_2"),
        ({"intermediate_dim": 8}, "`intermediate_dim` would give"),
    ):
        with pytest.raises(ValueError, match=f"{words}.*Received: "):
            TextEncoder.from_preset(directory, **options)
    # Other heads have the same weights.
    copy = TextEncoder.from_preset(directory, num_heads=4, vocabulary=PIECES)
    assert (copy.num_heads, len(copy.weights)) == (4, len(encoder.weights))
    fresh = TextEncoder.from_preset(directory, load_weights=False, num_layers=1)
    assert len(fresh.weights) < len(encoder.weights)


def test_a_keras_file_round_trips(encoder, tmp_path):
    path = str(tmp_path / "encoder.keras")
    encoder.save(path)
    copy = keras.models.load_model(path)
    np.testing.assert_array_equal(
        copy.encode("a red")[0], encoder.encode("a red")[0]
    )


def test_a_quantized_preset_round_trips(tmp_path):
    keras.utils.set_random_seed(0)
    encoder = tiny_encoder(num_layers=1)
    exact = encoder.encode("a red apple")[0]
    encoder.quantize("int8")
    quantized = encoder.encode("a red apple")[0]
    assert 0 < np.abs(quantized - exact).max() < 0.2
    encoder.save_to_preset(str(tmp_path / "preset"))
    copy = TextEncoder.from_preset(str(tmp_path / "preset"))
    assert copy.encoder_layers[0].query.quantization_mode == "int8"
    with pytest.raises(ValueError, match="`num_layers` would need"):
        TextEncoder.from_preset(str(tmp_path / "preset"), num_layers=2)
    np.testing.assert_allclose(
        copy.encode("a red apple")[0], quantized, atol=1e-6
    )


def test_a_failed_save_writes_nothing(encoder, tmp_path, monkeypatch):
    def fail(dir_path):
        raise OSError("disk full")

    monkeypatch.setattr(encoder, "save_assets", fail)
    with pytest.raises(OSError, match="disk full"):
        encoder.save_to_preset(str(tmp_path / "preset"))
    assert os.listdir(tmp_path) == []


def test_saving_again_replaces_the_weights(encoder, tmp_path):
    directory = str(tmp_path / "preset")
    encoder.save_to_preset(directory, max_shard_size=2e-6)
    assert "model.weights.json" in os.listdir(directory)
    sharded = TextEncoder.from_preset(directory)
    encoder.save_to_preset(directory)
    names = os.listdir(directory)
    assert [n for n in names if "weights" in n] == ["model.weights.h5"]
    whole = TextEncoder.from_preset(directory)
    for ours, theirs in zip(
        sharded.get_weights(), whole.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_saving_without_a_vocabulary_leaves_no_earlier_one(encoder, tmp_path):
    directory = str(tmp_path / "preset")
    encoder.save_to_preset(directory)
    without = tiny_encoder(vocabulary=None)
    without.save_to_preset(directory)
    without.save(tmp_path / "without.keras")
    for loaded in (
        TextEncoder.from_preset(directory),
        keras.models.load_model(tmp_path / "without.keras"),
    ):
        with pytest.raises(ValueError, match="needs a vocabulary"):
            loaded.tokenize("a")
    encoder.save_to_preset(directory)
    tokens = TextEncoder.from_preset(directory).tokenize("a")["token_ids"]
    np.testing.assert_array_equal(tokens, encoder.tokenize("a")["token_ids"])


def test_a_preset_of_another_kind_raises(encoder, tmp_path):
    encoder.save_to_preset(str(tmp_path / "preset"))
    with pytest.raises(ValueError, match="T5TextEncoder` cannot read"):
        T5TextEncoder.from_preset(str(tmp_path / "preset"))
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ValueError, match="`TextEncoder` can read.*gpt2"):
        TextEncoder.from_preset(str(tmp_path))
