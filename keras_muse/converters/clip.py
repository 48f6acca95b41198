"""CLIP text towers of Hugging Face: `CLIPTextModelWithProjection`, `CLIPModel`.

Names and defaults are those of `transformers`.
"""

import os

import tokenizers
from tokenizers import normalizers
from tokenizers import pre_tokenizers
from tokenizers import processors

from keras_muse.converters import tokenizer_files
from keras_muse.files.damage import reading
from keras_muse.files.json_files import read_object
from keras_muse.files.published_weights import open_weights
from keras_muse.files.tensors import load_layers

_LAYER_NORM_EPSILON = 1e-5
_START, _END = "<|startoftext|>", "<|endoftext|>"

# Constructor argument -> (name in `config.json`, value where it is absent).
_SETTINGS = {
    "vocabulary_size": ("vocab_size", 49408),
    "num_layers": ("num_hidden_layers", 12),
    "num_heads": ("num_attention_heads", 8),
    "hidden_dim": ("hidden_size", 512),
    "intermediate_dim": ("intermediate_size", 2048),
    "activation": ("hidden_act", "quick_gelu"),
    "max_sequence_length": ("max_position_embeddings", 77),
    "end_token_id": ("eos_token_id", 49407),
}
# The wrong id that configurations of 2021 to 2023 hold.
_LEGACY_END_TOKEN_ID = 2

_IGNORED = (
    r"text_model\.embeddings\.position_ids",
    # The other half of a whole CLIP.
    r"vision_model\..*",
    r"visual_projection\..*",
    r"logit_scale",
)


def recognizes(config):
    return config.get("model_type") in ("clip_text_model", "clip")


def constructor_arguments(config):
    """Arguments of `CLIPTextEncoder` from a `config.json`, as a dict."""
    text_config = config.get("text_config", config)
    arguments = {
        ours: text_config.get(name, default)
        for ours, (name, default) in _SETTINGS.items()
    }
    if arguments["end_token_id"] == _LEGACY_END_TOKEN_ID:
        # They mean the highest id.
        arguments["end_token_id"] = arguments["vocabulary_size"] - 1
    # A whole CLIP projects to the width that its own level names.
    projection_dim = config.get("projection_dim", 512)
    if projection_dim != arguments["hidden_dim"]:
        raise ValueError(
            "`projection_dim` must equal `hidden_size`: the prompt's vector "
            "and the tokens' are rows of one array. Received: "
            f"projection_dim={projection_dim}, "
            f"hidden_size={arguments['hidden_dim']}"
        )
    epsilon = text_config.get("layer_norm_eps", _LAYER_NORM_EPSILON)
    if epsilon != _LAYER_NORM_EPSILON:
        raise ValueError(
            f"`layer_norm_eps` must be {_LAYER_NORM_EPSILON}. Received: "
            f"layer_norm_eps={epsilon}"
        )
    return arguments


def load_weights(model, preset, folder=""):
    """Fills a `CLIPTextEncoder` from safetensors, or `.bin`."""
    table = {
        "text_model.embeddings.token_embedding": (
            model.embedding.token_embedding
        ),
        "text_model.embeddings.position_embedding.weight": (
            model.embedding.position_embedding.position_embeddings
        ),
        "text_model.final_layer_norm": model.output_norm,
        "text_projection": model.text_projection,
    }
    for i, layer in enumerate(model.encoder_layers):
        name = f"text_model.encoder.layers.{i}"
        table[f"{name}.layer_norm1"] = layer.layer_norm_1
        table[f"{name}.layer_norm2"] = layer.layer_norm_2
        table[f"{name}.mlp.fc1"] = layer.dense_1
        table[f"{name}.mlp.fc2"] = layer.dense_2
        attention = layer.attention
        for theirs, dense in (
            ("q_proj", attention.query_dense),
            ("k_proj", attention.key_dense),
            ("v_proj", attention.value_dense),
            ("out_proj", attention.output_dense),
        ):
            dense_name = f"{name}.self_attn.{theirs}"
            hidden_dim = model.hidden_dim
            table[f"{dense_name}.weight"] = _WithoutHeads(
                dense.kernel, (hidden_dim, hidden_dim)
            )
            table[f"{dense_name}.bias"] = _WithoutHeads(
                dense.bias, (hidden_dim,)
            )
    with open_weights(preset, folder) as files:
        load_layers(files, table, _IGNORED)


class _WithoutHeads:
    """A variable that has an axis for heads, in the shape of the published.

    Args:
        variable: variable of a projection in `keras.layers.MultiHeadAttention`.
        shape: tuple of ints. What is published: `(outputs, inputs)`, or
            `(outputs,)` of a bias.
    """

    def __init__(self, variable, shape):
        self.path = variable.path
        self.shape = shape
        self._variable = variable

    def assign(self, tensor):
        self._variable.assign(tensor.T.reshape(self._variable.shape))


# === Tokenizer ===


def tokenizer_arguments(preset, folder=""):
    """What the tokenizer's files say to the constructor, as a dict."""
    path = tokenizer_files.find(preset, folder, ["tokenizer.json"])
    if path is None:
        tokenizer = _from_vocabulary_and_merges(preset, folder)
    else:
        with reading(path):
            tokenizer = tokenizers.Tokenizer.from_file(path)
    padding_token = _padding_token(preset, folder)
    padding_token_id = tokenizer.token_to_id(padding_token)
    if padding_token_id is None:
        raise ValueError(
            "`pad_token` must be in the vocabulary. Received: "
            f"pad_token={padding_token!r}"
        )
    # In a text, too, it stands for itself, even if it is just "!".
    tokenizer.add_special_tokens([padding_token])
    return {
        "vocabulary": tokenizer.to_str().encode("utf-8"),
        "padding_token_id": padding_token_id,
    }


def _padding_token(preset, folder):
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = tokenizer_files.find(preset, folder, [name])
        if path is not None:
            token = read_object(path).get("pad_token")
            if isinstance(token, dict):
                token = token.get("content")
            if isinstance(token, str):
                return token
    return _END


def _from_vocabulary_and_merges(preset, folder):
    """The tokenizer of CLIP with the pieces of a `vocab.json`."""
    vocabulary, merges = (
        tokenizer_files.find_required(preset, folder, [name])
        for name in ("vocab.json", "merges.txt")
    )
    with reading(os.path.dirname(vocabulary)):
        model = tokenizers.models.BPE.from_file(
            vocabulary,
            merges,
            unk_token=_END,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
        )
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.add_special_tokens([_START, _END])
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
            normalizers.Lowercase(),
        ]
    )
    # English endings, runs of letters, single digits, runs of the rest.
    words = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                tokenizers.Regex(words), behavior="removed", invert=True
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_START} $A {_END}",
        special_tokens=[
            (piece, tokenizer.token_to_id(piece)) for piece in (_START, _END)
        ],
    )
    return tokenizer
