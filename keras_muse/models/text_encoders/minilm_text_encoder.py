"""The small frozen language model that ships with the package."""

import re

import keras
import tokenizers
from keras import ops

from keras_muse.files.bundled import ASSETS
from keras_muse.layers import initializers
from keras_muse.models.text_encoders.bert_layer import BertEncoderLayer
from keras_muse.models.text_encoders.text_encoder import TextEncoder
from keras_muse.models.text_encoders.text_encoder import make_fast_tokenizer
from keras_muse.runtime.checks import check_int

_SPECIAL_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


@keras.saving.register_keras_serializable(package="keras_muse")
class MiniLMTextEncoder(TextEncoder):
    """Frozen all-MiniLM-L6-v2: prompts to one 384-wide vector per token.

    A BERT of 6 layers and 22.6 million parameters, trained to tell sentences
    apart; its last layer's states are the embeddings. It is small enough for
    a processor, and knows words as T5 does, not pictures as CLIP does.

    `from_preset("all_minilm_l6_v2")` reads the copy inside the package,
    without network: matrices in 8 bits with one scale for 64 neighbours, turned
    into float32 on loading. The vector of a token lies within 5 % of the
    uncompressed model's (its distance over its length), typically 2 %.

    `from_preset` also reads a Hugging Face directory or `hf://` handle of a
    BERT with `config.json`, safetensors or `pytorch_model.bin`, and
    `tokenizer.json` or `vocab.txt`.

    Args:
        vocabulary_size: int. Rows of the token embedding. Defaults to `30522`.
        num_layers: int. Number of encoder layers. Defaults to `6`.
        num_heads: int. Number of attention heads. Defaults to `12`.
        hidden_dim: int. Width of the layers and of the embeddings. Defaults
            to `384`.
        intermediate_dim: int. Width inside the feed-forward parts. Defaults
            to `1536`.
        max_sequence_length: int. Positions that have an embedding. Defaults
            to `512`.
        layer_norm_epsilon: float. Defaults to `1e-12`.
        sequence_length: int, at most `max_sequence_length`. Tokens a prompt
            is padded or cut to. Defaults to `32`.
        vocabulary: list of word pieces in the order of their ids, or path of
            a `vocab.txt` or `tokenizer.json`, or the bytes of the latter.
            Defaults to `None`: the model works, `tokenize` does not.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        inputs: dict of `token_ids`, int32 of shape `(batch,
            sequence_length)`, and `padding_mask`, bool of that shape, true at
            real tokens.

    Returns:
        Float tensor of shape `(batch, sequence_length, hidden_dim)`.

    Example:
    ```python
    import keras_muse

    encoder = keras_muse.MiniLMTextEncoder.from_preset("all_minilm_l6_v2")
    text_embeddings, text_mask = encoder.encode(["a red apple", ""])
    # (2, 32, 384) and (2, 32)
    ```

    Reference:
        - [Wang et al., 2020](https://arxiv.org/abs/2002.10957)
        - [Reimers and Gurevych, 2019](https://arxiv.org/abs/1908.10084)
    """

    presets = {
        "all_minilm_l6_v2": {
            "metadata": {
                "description": "all-MiniLM-L6-v2, bundled in 8 bits.",
                "params": 22_564_608,
                "path": "minilm",
            },
            "directory": str(ASSETS / "minilm"),
        }
    }
    vocabulary_file = "tokenizer.json"
    converters = ("bert",)

    def __init__(
        self,
        vocabulary_size=30522,
        num_layers=6,
        num_heads=12,
        hidden_dim=384,
        intermediate_dim=1536,
        max_sequence_length=512,
        layer_norm_epsilon=1e-12,
        sequence_length=32,
        vocabulary=None,
        dtype=None,
        **kwargs,
    ):
        vocabulary_size = check_int(vocabulary_size, "vocabulary_size")
        num_layers = check_int(num_layers, "num_layers")
        num_heads = check_int(num_heads, "num_heads")
        hidden_dim = check_int(hidden_dim, "hidden_dim")
        intermediate_dim = check_int(intermediate_dim, "intermediate_dim")
        max_sequence_length = check_int(
            max_sequence_length, "max_sequence_length"
        )
        if hidden_dim % num_heads:
            raise ValueError(
                "`num_heads` must divide `hidden_dim`. Received: "
                f"num_heads={num_heads}, hidden_dim={hidden_dim}"
            )
        inputs = self.make_inputs(sequence_length)
        if sequence_length > max_sequence_length:
            raise ValueError(
                "`sequence_length` must not exceed `max_sequence_length`. "
                f"Received: sequence_length={sequence_length}, "
                f"max_sequence_length={max_sequence_length}"
            )

        # === Layers ===
        initializer = initializers.TruncatedNormal(stddev=0.02)
        self.token_embedding = keras.layers.Embedding(
            vocabulary_size,
            hidden_dim,
            embeddings_initializer=initializer,
            dtype=dtype,
            name="token_embedding",
        )
        self.position_embedding = keras.layers.Embedding(
            max_sequence_length,
            hidden_dim,
            embeddings_initializer=initializer,
            dtype=dtype,
            name="position_embedding",
        )
        self.embedding_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, dtype=dtype, name="embedding_norm"
        )
        self.encoder_layers = [
            BertEncoderLayer(
                num_heads=num_heads,
                hidden_dim=hidden_dim,
                intermediate_dim=intermediate_dim,
                layer_norm_epsilon=layer_norm_epsilon,
                dtype=dtype,
                name=f"encoder_layer_{i}",
            )
            for i in range(num_layers)
        ]

        # === Functional Model ===
        token_ids = inputs["token_ids"]
        # Every row counts 0, 1, 2, ...
        positions = ops.cumsum(ops.ones_like(token_ids), axis=1) - 1
        x = self.token_embedding(token_ids) + self.position_embedding(positions)
        x = self.embedding_norm(x)
        for layer in self.encoder_layers:
            x = layer(x, inputs["padding_mask"])

        # === Config ===
        self.vocabulary_size = vocabulary_size
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim
        self.max_sequence_length = max_sequence_length
        self.layer_norm_epsilon = layer_norm_epsilon
        super().__init__(
            inputs=inputs,
            outputs=x,
            text_dim=hidden_dim,
            vocabulary=vocabulary,
            dtype=dtype,
            **kwargs,
        )

    def _read_vocabulary(self, vocabulary):
        if isinstance(vocabulary, list | tuple):
            return tokenizer_json(vocabulary)
        contents = super()._read_vocabulary(vocabulary)
        if contents.lstrip().startswith(b"{"):
            return contents
        return tokenizer_json(read_pieces(contents))

    def _make_tokenizer(self, vocabulary):
        return make_fast_tokenizer(vocabulary)

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "vocabulary_size": self.vocabulary_size,
                "num_layers": self.num_layers,
                "num_heads": self.num_heads,
                "hidden_dim": self.hidden_dim,
                "intermediate_dim": self.intermediate_dim,
                "max_sequence_length": self.max_sequence_length,
                "layer_norm_epsilon": self.layer_norm_epsilon,
            }
        )
        return config


def read_pieces(contents):
    """Word pieces from the bytes of a `vocab.txt`, in the order of their ids.

    They may be separators of lines themselves, such as U+2028, which
    `str.splitlines` cuts at.
    """
    pieces = re.split("\r\n|\r|\n", contents.decode("utf-8"))
    return pieces if pieces[-1] else pieces[:-1]


def tokenizer_json(pieces, **settings):
    """A BERT tokenizer with these word pieces, as `tokenizer.json`.

    Args:
        pieces: list of strings.
        **settings: arguments of `tokenizers.BertWordPieceTokenizer`. Defaults
            to an uncased tokenizer.
    """
    missing = [piece for piece in _SPECIAL_PIECES if piece not in pieces]
    if missing:
        raise ValueError(
            f"`vocabulary` must hold {list(_SPECIAL_PIECES)}. Received: "
            f"{len(pieces)} pieces without {missing}"
        )
    ids = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = tokenizers.BertWordPieceTokenizer(ids, **settings)
    return tokenizer.to_str().encode("utf-8")
