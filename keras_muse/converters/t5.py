"""The encoder half of T5 and flan-T5 of Hugging Face."""

from keras_muse.converters import tokenizer_files
from keras_muse.files.published_weights import open_weights
from keras_muse.files.tensors import load_layers

# Constructor argument -> name in `config.json`.
_SETTINGS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_layers",
    "num_heads": "num_heads",
    "hidden_dim": "d_model",
    "intermediate_dim": "d_ff",
    "key_value_dim": "d_kv",
}
# `feed_forward_proj` -> (activation, use_gated_activation)
_FEED_FORWARDS = {
    "relu": ("relu", False),
    "gated-relu": ("relu", True),
    "gelu": ("gelu", False),
    # Always the tanh form, in Hugging Face's code too.
    "gated-gelu": ("gelu_approximate", True),
}
# One table under two names; a file holds the first, the second, or both.
_EMBEDDINGS = "shared", "encoder.embed_tokens"
_IGNORED = (
    *(rf"{name}\.weight" for name in _EMBEDDINGS),
    r"decoder\..*",
    r"lm_head\..*",
    r".*\.weight\.scale",  # read with the 8-bit matrix it belongs to
)


def recognizes(config):
    return config.get("model_type") == "t5"


def constructor_arguments(config):
    """Arguments of `T5TextEncoder` from a `config.json`, as a dict."""
    feed_forward = config.get("feed_forward_proj", "relu")
    if feed_forward not in _FEED_FORWARDS:
        raise ValueError(
            f"`feed_forward_proj` must be one of {list(_FEED_FORWARDS)}. "
            f"Received: feed_forward_proj={feed_forward!r}"
        )
    activation, use_gated_activation = _FEED_FORWARDS[feed_forward]
    return {
        **{ours: config[name] for ours, name in _SETTINGS.items()},
        "activation": activation,
        "use_gated_activation": use_gated_activation,
        "layer_norm_epsilon": config.get("layer_norm_epsilon", 1e-6),
        "num_buckets": config.get("relative_attention_num_buckets", 32),
        "max_distance": config.get("relative_attention_max_distance", 128),
    }


def tokenizer_arguments(preset, folder=""):
    """What the tokenizer's files say to the constructor, as a dict."""
    path = tokenizer_files.find_required(preset, folder, ["spiece.model"])
    return {"vocabulary": path}


def load_weights(model, preset, folder=""):
    """Fills a `T5TextEncoder` from safetensors, or `.bin`."""
    with open_weights(preset, folder) as files:
        names = files.names()
        embeddings = [name for name in _EMBEDDINGS if f"{name}.weight" in names]
        table = {
            (embeddings or _EMBEDDINGS)[0]: model.token_embedding,
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"
            ".weight": model.position_bias.embeddings,
            "encoder.final_layer_norm": model.output_norm,
        }
        for i, layer in enumerate(model.encoder_layers):
            table.update(_layer_table(layer, f"encoder.block.{i}.layer"))
        load_layers(files, table, _IGNORED)


def _layer_table(layer, name):
    attention = f"{name}.0.SelfAttention"
    feed_forward = f"{name}.1.DenseReluDense"
    table = {
        f"{name}.0.layer_norm": layer.attention_norm,
        f"{attention}.q": layer.query,
        f"{attention}.k": layer.key,
        f"{attention}.v": layer.value,
        f"{attention}.o": layer.attention_output,
        f"{name}.1.layer_norm": layer.feed_forward_norm,
        f"{feed_forward}.wo": layer.output_dense,
    }
    if layer.use_gated_activation:
        table[f"{feed_forward}.wi_0"] = layer.intermediate_dense
        table[f"{feed_forward}.wi_1"] = layer.gate_dense
    else:
        table[f"{feed_forward}.wi"] = layer.intermediate_dense
    return table
