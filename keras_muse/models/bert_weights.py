"""Where a Hugging Face BERT keeps its configuration and weights."""

from keras_muse.models.preset_files import SafetensorsFiles

# Constructor argument -> Hugging Face's name.
_HUGGING_FACE_NAMES = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "max_sequence_length": "max_position_embeddings",
    "layer_norm_epsilon": "layer_norm_eps",
}


def config_from_hugging_face(config):
    """Constructor arguments from a Hugging Face `config.json`, as a dict."""
    for name, supported in (
        ("hidden_act", "gelu"),
        ("position_embedding_type", "absolute"),
    ):
        if config.get(name, supported) != supported:
            raise ValueError(
                f"`{name}` must be {supported!r}. Received: "
                f"{name}={config[name]!r}"
            )
    return {ours: config[name] for ours, name in _HUGGING_FACE_NAMES.items()}


def load_hugging_face_weights(encoder, preset):
    """Fills an encoder from the safetensors files of a Hugging Face BERT."""
    with SafetensorsFiles(preset) as files:

        def assign_norm(layer, name):
            files.assign(layer.gamma, f"{name}.weight")
            files.assign(layer.beta, f"{name}.bias")

        files.assign(
            encoder.token_embedding.embeddings,
            "embeddings.word_embeddings.weight",
        )
        # A prompt is one segment, so its vector joins the positions.
        positions = "embeddings.position_embeddings.weight"
        segments = files.read("embeddings.token_type_embeddings.weight")
        files.assign(
            encoder.position_embedding.embeddings,
            positions,
            files.read(positions) + segments[0],
        )
        assign_norm(encoder.embedding_norm, "embeddings.LayerNorm")
        for i, layer in enumerate(encoder.encoder_layers):
            name = f"encoder.layer.{i}"
            denses = {
                f"{name}.attention.self.query": layer.query,
                f"{name}.attention.self.key": layer.key,
                f"{name}.attention.self.value": layer.value,
                f"{name}.attention.output.dense": layer.attention_output,
                f"{name}.intermediate.dense": layer.intermediate_dense,
                f"{name}.output.dense": layer.output_dense,
            }
            for dense_name, dense in denses.items():
                kernel = f"{dense_name}.weight"
                files.assign(dense.kernel, kernel, files.read(kernel).T)
                files.assign(dense.bias, f"{dense_name}.bias")
            assign_norm(
                layer.attention_norm, f"{name}.attention.output.LayerNorm"
            )
            assign_norm(layer.feed_forward_norm, f"{name}.output.LayerNorm")
