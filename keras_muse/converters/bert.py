"""BERT of Hugging Face, as in the `sentence-transformers` of MiniLM."""

from keras_muse.converters import tokenizer_files
from keras_muse.files.damage import reading
from keras_muse.files.json_files import read_object
from keras_muse.files.published_weights import open_weights
from keras_muse.files.tensors import load_layers
from keras_muse.models.text_encoders.minilm_text_encoder import read_pieces
from keras_muse.models.text_encoders.minilm_text_encoder import tokenizer_json

# Constructor argument -> name in `config.json`.
_SETTINGS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "max_sequence_length": "max_position_embeddings",
    "layer_norm_epsilon": "layer_norm_eps",
}
_SUPPORTED = {"hidden_act": "gelu", "position_embedding_type": "absolute"}
# Argument of the tokenizer -> name in `tokenizer_config.json`.
_TOKENIZER_SETTINGS = {
    "lowercase": "do_lower_case",
    "strip_accents": "strip_accents",
    "handle_chinese_chars": "tokenize_chinese_chars",
}

# Before all names of the encoder, where there is a head beside it.
_PREFIX = "bert."
_POSITIONS = "embeddings.position_embeddings.weight"
_SEGMENTS = "embeddings.token_type_embeddings.weight"
_IGNORED = (
    _POSITIONS.replace(".", r"\."),  # these two are read together
    _SEGMENTS.replace(".", r"\."),
    r"embeddings\.position_ids",
    r"pooler\..*",
    r".*\.weight\.scale",  # read with the 8-bit matrix it belongs to
)


def recognizes(config):
    return config.get("model_type") == "bert"


def constructor_arguments(config):
    """Arguments of `MiniLMTextEncoder` from a `config.json`, as a dict."""
    for name, supported in _SUPPORTED.items():
        if config.get(name, supported) != supported:
            raise ValueError(
                f"`{name}` must be {supported!r}. Received: "
                f"{name}={config[name]!r}"
            )
    return {ours: config[name] for ours, name in _SETTINGS.items()}


def tokenizer_arguments(preset, folder=""):
    """What the tokenizer's files say to the constructor, as a dict."""
    names = ["tokenizer.json", "vocab.txt"]
    path = tokenizer_files.find_required(preset, folder, names)
    config_file = tokenizer_files.find(
        preset, folder, ["tokenizer_config.json"]
    )
    if config_file is None or not path.endswith("vocab.txt"):
        return {"vocabulary": path}
    config = read_object(config_file)
    settings = {
        ours: config[name]
        for ours, name in _TOKENIZER_SETTINGS.items()
        if name in config
    }
    with open(path, "rb") as file, reading(path):
        pieces = read_pieces(file.read())
    with reading(config_file, "describes no tokenizer"):
        return {"vocabulary": tokenizer_json(pieces, **settings)}


def load_weights(model, preset, folder=""):
    """Fills a `MiniLMTextEncoder` from safetensors, or `.bin`."""
    table = {
        "embeddings.word_embeddings": model.token_embedding,
        "embeddings.LayerNorm": model.embedding_norm,
    }
    for i, layer in enumerate(model.encoder_layers):
        name = f"encoder.layer.{i}"
        table[f"{name}.attention.self.query"] = layer.query
        table[f"{name}.attention.self.key"] = layer.key
        table[f"{name}.attention.self.value"] = layer.value
        table[f"{name}.attention.output.dense"] = layer.attention_output
        table[f"{name}.attention.output.LayerNorm"] = layer.attention_norm
        table[f"{name}.intermediate.dense"] = layer.intermediate_dense
        table[f"{name}.output.dense"] = layer.output_dense
        table[f"{name}.output.LayerNorm"] = layer.feed_forward_norm
    with open_weights(preset, folder) as files:
        prefix, ignored = "", _IGNORED
        if any(name.startswith(_PREFIX) for name in files.names()):
            prefix = _PREFIX
            heads = r"(?!bert\.).*"
            ignored = [heads, *(rf"bert\.{pattern}" for pattern in _IGNORED)]
        table = {f"{prefix}{name}": layer for name, layer in table.items()}
        load_layers(files, table, ignored)
        # A prompt is one segment, so its vector joins the positions.
        names = f"{prefix}{_POSITIONS}", f"{prefix}{_SEGMENTS}"
        positions, segments = map(files.read_floats, names)
        if segments.shape[1:] != positions.shape[1:]:
            raise ValueError(
                f"Tensor `{names[1]}` must be as wide as `{names[0]}`. "
                f"Received: shape={segments.shape}, preset={preset!r}"
            )
        files.assign(
            model.position_embedding.embeddings,
            names[0],
            positions + segments[0],
        )
