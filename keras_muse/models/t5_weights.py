"""Where the encoder half of a published T5 keeps its configuration and weights.

Two formats are read: KerasHub's T5 presets and Hugging Face directories. Only
tensors of the encoder are read, one by one, by name.
"""

from keras_muse.models.preset_files import KerasWeightsFiles
from keras_muse.models.preset_files import SafetensorsFiles

# Constructor argument -> Hugging Face's name.
_HUGGING_FACE_NAMES = {
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


def config_from_hugging_face(config):
    """Constructor arguments from a Hugging Face `config.json`, as a dict."""
    feed_forward = config.get("feed_forward_proj", "relu")
    if feed_forward not in _FEED_FORWARDS:
        raise ValueError(
            f"`feed_forward_proj` must be one of {list(_FEED_FORWARDS)}. "
            f"Received: feed_forward_proj={feed_forward!r}"
        )
    activation, use_gated_activation = _FEED_FORWARDS[feed_forward]
    return {
        **{ours: config[name] for ours, name in _HUGGING_FACE_NAMES.items()},
        "activation": activation,
        "use_gated_activation": use_gated_activation,
        "layer_norm_epsilon": config.get("layer_norm_epsilon", 1e-6),
        "num_buckets": config.get("relative_attention_num_buckets", 32),
        "max_distance": config.get("relative_attention_max_distance", 128),
    }


def config_from_keras_hub(config):
    """Constructor arguments from a KerasHub `config.json`, as a dict."""
    config = config["config"]
    activation = config["activation"]
    if isinstance(activation, dict):
        # A registered function, such as KerasHub's `gelu_approximate`.
        activation = activation["config"]
    names = [*_HUGGING_FACE_NAMES, "use_gated_activation", "layer_norm_epsilon"]
    return {**{name: config[name] for name in names}, "activation": activation}


def load_hugging_face_weights(encoder, preset):
    """Fills an encoder from the safetensors files of a Hugging Face T5."""
    with SafetensorsFiles(preset) as files:
        embeddings = "shared.weight"
        if embeddings not in files:
            embeddings = "encoder.embed_tokens.weight"
        files.assign(encoder.token_embedding.embeddings, embeddings)
        files.assign(
            encoder.position_bias.embeddings,
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"
            ".weight",
        )
        for i, layer in enumerate(encoder.encoder_layers):
            block = f"encoder.block.{i}.layer"
            feed_forward = f"{block}.1.DenseReluDense"
            denses = {
                f"{block}.0.SelfAttention.q": layer.query,
                f"{block}.0.SelfAttention.k": layer.key,
                f"{block}.0.SelfAttention.v": layer.value,
                f"{block}.0.SelfAttention.o": layer.attention_output,
                f"{feed_forward}.wo": layer.output_dense,
            }
            if layer.use_gated_activation:
                denses[f"{feed_forward}.wi_0"] = layer.intermediate_dense
                denses[f"{feed_forward}.wi_1"] = layer.gate_dense
            else:
                denses[f"{feed_forward}.wi"] = layer.intermediate_dense
            for name, dense in denses.items():
                name = f"{name}.weight"
                files.assign(dense.kernel, name, files.read(name).T)
            files.assign(
                layer.attention_norm.scale, f"{block}.0.layer_norm.weight"
            )
            files.assign(
                layer.feed_forward_norm.scale, f"{block}.1.layer_norm.weight"
            )
        files.assign(
            encoder.output_norm.scale, "encoder.final_layer_norm.weight"
        )


def load_keras_hub_weights(encoder, preset):
    """Fills an encoder from the encoder half of a KerasHub T5 preset.

    KerasHub numbers the layers of both halves in one row, the encoder's
    first. That order is checked, for decoder layers have tensors of the same
    names and shapes.
    """
    with KerasWeightsFiles(preset) as files:
        groups = [
            "layers/t5_transformer_layer" + (f"_{i}" if i else "")
            for i in range(2 * encoder.num_layers + 1)
        ]
        found = [
            files.has_group(f"{group}/cross_attention") for group in groups
        ]
        expected = [False] * encoder.num_layers + [True] * encoder.num_layers
        if found != [*expected, False]:
            raise ValueError(
                f"`preset` must hold {encoder.num_layers} encoder layers and "
                "as many decoder layers after them. Received: "
                f"preset={preset!r}, with cross-attention in layers "
                f"{[i for i, is_decoder in enumerate(found) if is_decoder]}"
            )

        def assign(variable, name):
            files.assign(variable, f"{name}/vars/0")

        assign(
            encoder.token_embedding.embeddings, "layers/reversible_embedding"
        )
        assign(encoder.position_bias.embeddings, f"{groups[0]}/self_attention")
        for group, layer in zip(groups, encoder.encoder_layers, strict=False):
            attention = f"{group}/self_attention"
            assign(layer.query.kernel, f"{attention}/query_projector")
            assign(layer.key.kernel, f"{attention}/key_projector")
            assign(layer.value.kernel, f"{attention}/value_projector")
            assign(
                layer.attention_output.kernel, f"{attention}/output_projector"
            )
            assign(layer.intermediate_dense.kernel, f"{group}/input_projector")
            if layer.use_gated_activation:
                assign(layer.gate_dense.kernel, f"{group}/gate_projector")
            assign(layer.output_dense.kernel, f"{group}/output_projector")
            assign(
                layer.attention_norm.scale, f"{group}/self_attention_layer_norm"
            )
            assign(layer.feed_forward_norm.scale, f"{group}/layer_norm")
        assign(encoder.output_norm.scale, "layers/t5_layer_norm")
