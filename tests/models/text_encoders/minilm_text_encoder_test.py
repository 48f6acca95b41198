import json
import os

import keras
import numpy as np
import pytest
import tokenizers
import torch
import transformers

from keras_muse.converters import bert
from keras_muse.models.text_encoders.minilm_text_encoder import (
    MiniLMTextEncoder,
)
from keras_muse.models.text_encoders.text_encoder import TextEncoder

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "apple"]
GOLDEN = os.path.join(
    *(os.path.dirname(__file__), "../../golden", "minilm_states.npz")
)


@pytest.fixture(scope="module")
def bundled():
    return TextEncoder.from_preset("all_minilm_l6_v2")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A small random BERT of `transformers`, and its directory."""
    torch.manual_seed(0)
    model = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=len(PIECES),
            hidden_size=24,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=48,
            max_position_embeddings=40,
            initializer_range=0.5,
        ),
        add_pooling_layer=False,
    ).eval()
    for name, parameter in model.named_parameters():
        if "LayerNorm" in name or "bias" in name:
            torch.nn.init.normal_(parameter, mean=0.5)
    directory = str(tmp_path_factory.mktemp("bert"))
    model.save_pretrained(directory)
    with open(os.path.join(directory, "vocab.txt"), "w") as file:
        file.write("\n".join(PIECES) + "\n")
    return model, directory


def reference_states(model, tokens):
    with torch.no_grad():
        return model(
            input_ids=torch.tensor(tokens["token_ids"], dtype=torch.long),
            attention_mask=torch.tensor(tokens["padding_mask"]).long(),
        ).last_hidden_state.numpy()


def test_it_equals_transformers_on_the_same_weights(reference):
    model, directory = reference
    encoder = MiniLMTextEncoder.from_preset(directory, sequence_length=10)
    texts = ["a red apple", "", "apple apple a a a red a", "unknown"]
    embeddings, mask = encoder.encode(texts)
    expected = reference_states(model, encoder.tokenize(texts))
    assert mask.sum(axis=1).tolist() == [5, 2, 9, 3]
    np.testing.assert_allclose(embeddings[mask], expected[mask], atol=1e-4)
    assert encoder.preset == directory


@pytest.mark.parametrize(
    "kind", ["BertModel", "BertForMaskedLM", "BertForPreTraining"]
)
def test_a_head_beside_the_encoder_is_left_away(kind, reference, tmp_path):
    directory = str(tmp_path / "bert")
    torch.manual_seed(1)
    whole = getattr(transformers, kind)(reference[0].config).eval()
    whole.save_pretrained(directory)
    (tmp_path / "bert/vocab.txt").write_text("\n".join(PIECES))
    encoder = MiniLMTextEncoder.from_preset(directory, sequence_length=6)
    texts = ["a red apple", ""]
    embeddings, mask = encoder.encode(texts)
    model = getattr(whole, "bert", whole)
    expected = reference_states(model, encoder.tokenize(texts))
    np.testing.assert_allclose(embeddings[mask], expected[mask], atol=1e-4)

    name = "encoder.layer.3.output.dense.weight"
    name = f"{'bert.' * (model is not whole)}{name}"
    (tmp_path / "more").mkdir()
    more = edited(
        directory,
        tmp_path / "more",
        lambda tensors: tensors.update({name: np.zeros((24, 48), "float32")}),
    )
    with pytest.raises(ValueError, match=f"`{name}` has no place"):
        MiniLMTextEncoder.from_preset(more)


def test_it_equals_transformers_from_shards(reference, tmp_path):
    model, directory = reference
    model.save_pretrained(str(tmp_path), max_shard_size="10KB")
    os.symlink(
        os.path.join(directory, "vocab.txt"), str(tmp_path / "vocab.txt")
    )
    assert (tmp_path / "model.safetensors.index.json").exists()
    whole = MiniLMTextEncoder.from_preset(directory)
    sharded = MiniLMTextEncoder.from_preset(str(tmp_path))
    for ours, theirs in zip(
        sharded.get_weights(), whole.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_bfloat16_is_close_to_float32(reference):
    _, directory = reference
    exact = MiniLMTextEncoder.from_preset(directory)
    coarse = MiniLMTextEncoder.from_preset(directory, dtype="bfloat16")
    assert coarse.weights[0].dtype == "bfloat16"
    expected = exact.encode("a red apple")[0]
    embeddings = coarse.encode("a red apple")[0]
    assert embeddings.dtype == "float32"
    assert 0 < np.abs(embeddings - expected).max() < 0.2


def test_the_bundled_copy_is_close_to_the_float32_original(bundled):
    golden = np.load(GOLDEN)
    prompts = [str(prompt) for prompt in golden["prompts"]]
    embeddings, mask = bundled.encode(prompts)
    token_ids = bundled.tokenize(prompts)["token_ids"]
    assert embeddings.shape == (4, 32, 384)
    errors = []
    for i in range(len(prompts)):
        np.testing.assert_array_equal(
            token_ids[i][mask[i]], golden[f"token_ids_{i}"]
        )
        expected = golden[f"states_{i}"]
        error = np.linalg.norm(embeddings[i][mask[i]] - expected, axis=-1)
        errors.extend(error / np.linalg.norm(expected, axis=-1))
    assert 0 < max(errors) < 0.05
    assert np.mean(errors) < 0.025


def test_the_bundled_copy_knows_what_words_mean(bundled):
    texts = ["a red apple", "a green apple", "a photo of a dog"]
    embeddings, mask = bundled.encode(texts)
    means = embeddings.sum(axis=1) / mask.sum(axis=1)[:, None]
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    similarity = means @ means.T
    # What the sentence model itself says of these: 0.80 and 0.20.
    assert abs(similarity[0, 1] - 0.80) < 0.02
    assert abs(similarity[0, 2] - 0.20) < 0.02


def test_the_bundled_copy_is_listed_small_and_licensed(bundled):
    published = MiniLMTextEncoder.presets["all_minilm_l6_v2"]
    assert published["metadata"]["params"] == bundled.count_params()
    files = os.listdir(published["directory"])
    assert {"LICENSE", "NOTICE"} <= set(files)
    sizes = [
        os.path.getsize(os.path.join(published["directory"], name))
        for name in files
    ]
    assert sum(sizes) < 24e6
    assert bundled.preset == "all_minilm_l6_v2"
    assert bundled.sequence_length == 32
    assert not bundled.trainable


def test_word_pieces_are_those_of_transformers(bundled, tmp_path):
    directory = MiniLMTextEncoder.presets["all_minilm_l6_v2"]["directory"]
    tokenizer = transformers.BertTokenizer.from_pretrained(directory)
    texts = [
        "A red apple!",
        "Café crème — naïve",
        "日本の flag, don't",
        "uncharacteristically long-winded",
        "  spaces\tand\nlines  ",
        "🍎",
    ]
    tokens = bundled.tokenize(texts)
    for i, text in enumerate(texts):
        ids = tokens["token_ids"][i][tokens["padding_mask"][i]]
        assert ids.tolist() == tokenizer(text)["input_ids"]


def test_vocabulary_forms_agree(reference, tmp_path):
    _, directory = reference
    path = str(tmp_path / "tokenizer.json")
    tokenizer = tokenizers.BertWordPieceTokenizer(
        os.path.join(directory, "vocab.txt"), lowercase=True
    )
    # Files in the wild carry these settings; prompts are not cut by them.
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=7)
    tokenizer.save(path)
    for vocabulary in (PIECES, path, os.path.join(directory, "vocab.txt")):
        encoder = MiniLMTextEncoder(
            vocabulary_size=8,
            num_layers=1,
            hidden_dim=12,
            intermediate_dim=8,
            vocabulary=vocabulary,
        )
        tokens = encoder.tokenize("A red apple")
        assert tokens["token_ids"][0, :6].tolist() == [2, 5, 6, 7, 3, 0]
        assert tokens["padding_mask"].sum() == 5


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_separators_of_lines_may_be_word_pieces(end, tmp_path):
    pieces = [*PIECES[:4], "\u2028", "\x85", "\x0c", "a", "red"]
    text = (end or "\n").join(pieces) + end
    (tmp_path / "vocab.txt").write_bytes(text.encode())
    for vocabulary in (pieces, tmp_path / "vocab.txt"):
        encoder = MiniLMTextEncoder(
            vocabulary_size=len(pieces),
            num_layers=1,
            hidden_dim=12,
            intermediate_dim=8,
            vocabulary=vocabulary,
        )
        token_ids = encoder.tokenize("a red")["token_ids"]
        assert token_ids[0, :5].tolist() == [2, 7, 8, 3, 0]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False},
        {"do_lower_case": True, "strip_accents": False},
        {"do_lower_case": False, "strip_accents": True},
        {"tokenize_chinese_chars": False},
    ],
)
def test_a_vocabulary_is_read_as_its_settings_say(settings, tmp_path):
    text = "A red R\u00e9d \u65e5\u672c"
    pieces = [*PIECES[:5], *"A a Red red R\u00e9d r\u00e9d".split()]
    pieces += ["\u65e5", "##\u672c", "\u672c"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    encoder = MiniLMTextEncoder(
        vocabulary_size=len(pieces),
        num_layers=1,
        hidden_dim=12,
        intermediate_dim=8,
        **bert.tokenizer_arguments(str(tmp_path)),
    )
    tokens = encoder.tokenize(text)
    expected = transformers.BertTokenizer(
        {piece: i for i, piece in enumerate(pieces)}, **settings
    )(text)["input_ids"]
    ids = tokens["token_ids"][tokens["padding_mask"]]
    assert ids.tolist() == expected


def test_wrong_settings_of_a_tokenizer_are_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    for settings in ('{"do_lower_case": "no"}', "[]"):
        (tmp_path / "tokenizer_config.json").write_text(settings)
        with pytest.raises(ValueError, match="tokenizer_config.json"):
            bert.tokenizer_arguments(str(tmp_path))


def edited(directory, target, edit):
    """A copy of a directory whose tensors were edited."""
    import safetensors.numpy

    for name in os.listdir(directory):
        with open(os.path.join(directory, name), "rb") as file:
            contents = file.read()
        if name == "model.safetensors":
            tensors = safetensors.numpy.load(contents)
            edit(tensors)
            contents = safetensors.numpy.save(tensors)
        (target / name).write_bytes(contents)
    return str(target)


def test_damaged_tensors_are_refused_by_name(reference, tmp_path):
    _, directory = reference
    name = "encoder.layer.1.output.dense.weight"
    (tmp_path / "missing").mkdir()
    missing = edited(directory, tmp_path / "missing", lambda t: t.pop(name))
    with pytest.raises(ValueError, match=f"`{name}` is missing"):
        MiniLMTextEncoder.from_preset(missing)
    (tmp_path / "shape").mkdir()
    shape = edited(
        directory,
        tmp_path / "shape",
        lambda t: t.update({name: np.zeros((24, 47), "float32")}),
    )
    with pytest.raises(ValueError, match=f"`{name}` does not fit"):
        MiniLMTextEncoder.from_preset(shape)


@pytest.mark.parametrize(
    "name, shape, message",
    [
        ("encoder.layer.3.output.dense.weight", (24, 48), "has no place"),
        ("embeddings.token_type_embeddings.weight", (2, 23), "must be as wide"),
        ("embeddings.position_embeddings.weight", (39, 24), "has shape"),
    ],
)
def test_extra_and_misshapen_tensors_are_refused(
    name, shape, message, reference, tmp_path
):
    directory = edited(
        reference[1],
        tmp_path,
        lambda tensors: tensors.update({name: np.zeros(shape, "float32")}),
    )
    with pytest.raises(ValueError, match=f"`{name}` {message}.*Received"):
        MiniLMTextEncoder.from_preset(directory)


def test_the_pooler_is_ignored(reference, tmp_path):
    directory = edited(
        reference[1],
        tmp_path,
        lambda tensors: tensors.update(
            {"pooler.dense.weight": np.zeros((24, 24), "float32")}
        ),
    )
    ours = MiniLMTextEncoder.from_preset(directory)
    theirs = MiniLMTextEncoder.from_preset(reference[1])
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_unsupported_configurations_raise(reference, tmp_path):
    _, directory = reference
    with open(os.path.join(directory, "config.json")) as file:
        config = json.load(file)
    config["hidden_act"] = "relu"
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    with pytest.raises(ValueError, match="`hidden_act` must be 'gelu'"):
        MiniLMTextEncoder.from_preset(str(tmp_path))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_heads": 5}, "`num_heads` must divide"),
        ({"sequence_length": 513}, "`sequence_length` must not exceed"),
        ({"vocabulary": ["a", "[PAD]"]}, "`vocabulary` must hold"),
    ],
)
def test_bad_arguments_raise(arguments, message):
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        MiniLMTextEncoder(
            **{"vocabulary_size": 9, "num_layers": 1, **arguments}
        )


def test_the_default_architecture_is_minilm(bundled):
    keras.utils.set_random_seed(0)
    assert MiniLMTextEncoder().count_params() == bundled.count_params()
