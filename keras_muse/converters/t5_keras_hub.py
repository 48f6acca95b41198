"""The encoder half of KerasHub's T5 presets."""

from keras_muse.converters import tokenizer_files
from keras_muse.files import hub
from keras_muse.files.published_weights import open_keras_weights

# Constructor arguments that have the same name there.
_SETTINGS = (
    "vocabulary_size",
    "num_layers",
    "num_heads",
    "hidden_dim",
    "intermediate_dim",
    "key_value_dim",
    "use_gated_activation",
    "layer_norm_epsilon",
)


def recognizes(config):
    # KerasHub has also written its classes as `keras_nlp>...`.
    name = str(config.get("registered_name"))
    return name.rpartition(">")[2] == "T5Backbone"


def constructor_arguments(config):
    """Arguments of `T5TextEncoder` from a `config.json`, as a dict."""
    config = config["config"]
    activation = config["activation"]
    if isinstance(activation, dict):
        # A registered function, such as KerasHub's `gelu_approximate`.
        activation = activation["config"]
    return {
        **{name: config[name] for name in _SETTINGS},
        "activation": activation,
    }


def tokenizer_arguments(preset, folder=""):
    """What the tokenizer's files say to the constructor, as a dict."""
    name = f"{hub.TOKENIZER_DIRECTORY}/vocabulary.spm"
    return {"vocabulary": tokenizer_files.find_required(preset, folder, [name])}


def load_weights(model, preset, folder=""):
    """Fills a `T5TextEncoder` from Keras weights files.

    KerasHub numbers the layers of both halves in one row, the encoder's
    first. That order is checked, for decoder layers have tensors of the same
    names and shapes.
    """
    with open_keras_weights(preset, folder) as files:
        groups = _check_layers(files, model.num_layers)
        table = {
            "layers/reversible_embedding": model.token_embedding.embeddings,
            f"{groups[0]}/self_attention": model.position_bias.embeddings,
            "layers/t5_layer_norm": model.output_norm.scale,
        }
        for group, layer in zip(groups, model.encoder_layers, strict=True):
            table.update(_layer_table(layer, group))
        for name, variable in table.items():
            files.assign(variable, f"{name}/vars/0")


def _check_layers(files, num_layers):
    """The groups of the encoder's layers, a list."""
    groups = [
        "layers/t5_transformer_layer" + (f"_{i}" if i else "")
        for i in range(2 * num_layers + 1)
    ]
    found = [files.has_group(f"{group}/cross_attention") for group in groups]
    if found != [False] * num_layers + [True] * num_layers + [False]:
        raise ValueError(
            f"`preset` must hold {num_layers} encoder layers and as many "
            "decoder layers after them. Received: "
            f"preset={files.source!r}, with cross-attention in layers "
            f"{[i for i, is_decoder in enumerate(found) if is_decoder]}"
        )
    return groups[:num_layers]


def _layer_table(layer, group):
    attention = f"{group}/self_attention"
    table = {
        f"{group}/self_attention_layer_norm": layer.attention_norm.scale,
        f"{attention}/query_projector": layer.query.kernel,
        f"{attention}/key_projector": layer.key.kernel,
        f"{attention}/value_projector": layer.value.kernel,
        f"{attention}/output_projector": layer.attention_output.kernel,
        f"{group}/layer_norm": layer.feed_forward_norm.scale,
        f"{group}/input_projector": layer.intermediate_dense.kernel,
        f"{group}/output_projector": layer.output_dense.kernel,
    }
    if layer.use_gated_activation:
        table[f"{group}/gate_projector"] = layer.gate_dense.kernel
    return table
