"""The text tower of CLIP, the language model of aMUSEd."""

import keras
import numpy as np
from keras import ops
from keras_hub.layers import TokenAndPositionEmbedding
from keras_hub.src.models.clip.clip_layers import CLIPEncoderLayer
from keras_hub.src.models.clip.clip_layers import CLIPTextPooler

from keras_muse.layers import initializers
from keras_muse.models.text_encoders.text_encoder import TextEncoder
from keras_muse.models.text_encoders.text_encoder import make_fast_tokenizer
from keras_muse.runtime.checks import check_int

_ACTIVATIONS = ("quick_gelu", "gelu")
# That of the norms in KerasHub's layers, and of all published models.
_LAYER_NORM_EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="keras_muse")
class CLIPTextEncoder(TextEncoder):
    """Frozen CLIP text tower: a vector for the prompt, then one per token.

    Row 0 of the embeddings is CLIP's own embedding of the prompt: the last
    layer's state at the end token, normalized and projected. The rows after
    it are the states before the last layer, which the pictures attend to.
    aMUSEd reads both, and one array carries them.

    Padding is part of it: no row is masked, for aMUSEd was trained with the
    states of padding. An empty prompt is a prompt like any other.

    `from_preset` reads a directory or `hf://` handle of Hugging Face's
    `CLIPTextModelWithProjection`, of a whole `CLIPModel`, or of a pipeline of
    `diffusers` such as `hf://amused/amused-256`, with the tokenizer beside
    the model or in the folder `tokenizer` next to it.

    Args:
        vocabulary_size: int. Rows of the token embedding. Defaults to `49408`.
        num_layers: int. Number of encoder layers. Defaults to `12`.
        num_heads: int. Number of attention heads. Defaults to `12`.
        hidden_dim: int. Width of the layers and of the embeddings. Defaults
            to `768`.
        intermediate_dim: int. Width inside the feed-forward parts. Defaults
            to `3072`.
        activation: string, `"quick_gelu"` as in OpenAI's models or `"gelu"`
            as in most of OpenCLIP's. Defaults to `"quick_gelu"`.
        max_sequence_length: int. Positions that have an embedding. Defaults
            to `77`.
        end_token_id: int. Id of the token that ends a prompt. Defaults to
            `49407`.
        padding_token_id: int. Id of the token that stands at padding.
            Defaults to `None`, which is `end_token_id`.
        sequence_length: int, at most `max_sequence_length`. Tokens a prompt
            is padded or cut to. Defaults to `77`.
        vocabulary: path or bytes of a `tokenizer.json`. Defaults to `None`:
            the model works, `tokenize` does not.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        inputs: dict of `token_ids`, int32 of shape `(batch,
            sequence_length)`, and `padding_mask`, bool of that shape, true at
            real tokens.

    Returns:
        Float tensor of shape `(batch, sequence_length + 1, hidden_dim)`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    encoder = keras_muse.CLIPTextEncoder(
        vocabulary_size=100, num_layers=2, num_heads=2, hidden_dim=16,
        intermediate_dim=32, end_token_id=99, sequence_length=8,
    )
    token_ids = np.array([[98, 5, 7, 99, 0, 0, 0, 0]], "int32")
    text_embeddings = encoder(
        {"token_ids": token_ids, "padding_mask": token_ids > 0}
    )  # (1, 9, 16)
    ```

    Reference:
        - [Radford et al., 2021](https://arxiv.org/abs/2103.00020)
        - [aMUSEd](https://arxiv.org/abs/2401.01808)
    """

    vocabulary_file = "tokenizer.json"
    converters = ("clip",)

    def __init__(
        self,
        vocabulary_size=49408,
        num_layers=12,
        num_heads=12,
        hidden_dim=768,
        intermediate_dim=3072,
        activation="quick_gelu",
        max_sequence_length=77,
        end_token_id=49407,
        padding_token_id=None,
        sequence_length=77,
        vocabulary=None,
        dtype=None,
        **kwargs,
    ):
        if activation not in _ACTIVATIONS:
            raise ValueError(
                f"`activation` must be one of {list(_ACTIVATIONS)}. Received: "
                f"activation={activation!r}"
            )
        vocabulary_size = check_int(vocabulary_size, "vocabulary_size")
        num_layers = check_int(num_layers, "num_layers")
        num_heads = check_int(num_heads, "num_heads")
        hidden_dim = check_int(hidden_dim, "hidden_dim")
        intermediate_dim = check_int(intermediate_dim, "intermediate_dim")
        max_sequence_length = check_int(
            max_sequence_length, "max_sequence_length"
        )
        end_token_id = check_int(end_token_id, "end_token_id", low=0)
        if padding_token_id is None:
            padding_token_id = end_token_id
        padding_token_id = check_int(
            padding_token_id, "padding_token_id", low=0
        )
        inputs = self.make_inputs(sequence_length)
        if sequence_length > max_sequence_length:
            raise ValueError(
                "`sequence_length` must not exceed `max_sequence_length`. "
                f"Received: sequence_length={sequence_length}, "
                f"max_sequence_length={max_sequence_length}"
            )

        # === Layers ===
        self.embedding = TokenAndPositionEmbedding(
            vocabulary_size=vocabulary_size,
            sequence_length=max_sequence_length,
            embedding_dim=hidden_dim,
            embeddings_initializer=initializers.RandomNormal(stddev=0.02),
            dtype=dtype,
            name="embedding",
        )
        self.encoder_layers = [
            CLIPEncoderLayer(
                hidden_dim,
                num_heads,
                intermediate_dim,
                intermediate_activation=activation,
                dtype=dtype,
                name=f"encoder_layer_{i}",
            )
            for i in range(num_layers)
        ]
        self.output_norm = keras.layers.LayerNormalization(
            epsilon=_LAYER_NORM_EPSILON, dtype=dtype, name="output_norm"
        )
        self.pooler = CLIPTextPooler(dtype=dtype, name="pooler")
        self.text_projection = keras.layers.Dense(
            hidden_dim, use_bias=False, dtype=dtype, name="text_projection"
        )

        # === Functional Model ===
        token_ids = ops.where(
            inputs["padding_mask"], inputs["token_ids"], padding_token_id
        )
        x = self.embedding(token_ids)
        for layer in self.encoder_layers:
            # Attention is causal, and padding comes last: no mask is needed.
            states, x = x, layer(x)
        # The pooler's argmax of zeros and ones is the first end token.
        is_end = ops.cast(ops.equal(token_ids, end_token_id), "int32")
        pooled = self.pooler(self.output_norm(x), is_end)
        pooled = ops.expand_dims(self.text_projection(pooled), axis=1)
        outputs = ops.concatenate([pooled, states], axis=1)

        # === Config ===
        self.vocabulary_size = vocabulary_size
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim
        self.activation = activation
        self.max_sequence_length = max_sequence_length
        self.end_token_id = end_token_id
        self.padding_token_id = padding_token_id
        super().__init__(
            inputs=inputs,
            outputs=outputs,
            text_dim=hidden_dim,
            vocabulary=vocabulary,
            dtype=dtype,
            **kwargs,
        )

    def embedding_mask(self, padding_mask):
        """All rows: the prompt's own, and those of padding."""
        return np.ones((len(padding_mask), self.sequence_length + 1), "bool")

    def _make_tokenizer(self, vocabulary):
        tokenizer, num_pieces = make_fast_tokenizer(vocabulary)
        empty = tokenizer.encode("").ids
        if len(empty) != 2 or empty[1] != self.end_token_id:
            raise ValueError(
                "`vocabulary` must put a start token before a text and "
                "`end_token_id` after it. Received: "
                f"end_token_id={self.end_token_id}, and {empty} for an empty "
                "text"
            )
        return tokenizer, num_pieces

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "vocabulary_size": self.vocabulary_size,
                "num_layers": self.num_layers,
                "num_heads": self.num_heads,
                "hidden_dim": self.hidden_dim,
                "intermediate_dim": self.intermediate_dim,
                "activation": self.activation,
                "max_sequence_length": self.max_sequence_length,
                "end_token_id": self.end_token_id,
                "padding_token_id": self.padding_token_id,
            }
        )
        return config
