"""The encoder half of T5, the language model of the paper."""

import keras
import keras_hub
import sentencepiece

from keras_muse.layers import initializers
from keras_muse.models.layouts import TEXT_ENCODER_RULES
from keras_muse.models.layouts import layout_map_method
from keras_muse.models.text_encoders.t5_layers import ACTIVATIONS
from keras_muse.models.text_encoders.t5_layers import T5EncoderLayer
from keras_muse.models.text_encoders.t5_layers import T5PositionBias
from keras_muse.models.text_encoders.text_encoder import TextEncoder
from keras_muse.runtime.checks import check_int


@keras.saving.register_keras_serializable(package="keras_muse")
class T5TextEncoder(TextEncoder):
    """Frozen T5 encoder: prompts to one vector per token.

    Muse conditions on T5 1.1 XXL: 4096 wide, 24 layers, 4.6 billion
    parameters in them and 0.1 in the embedding. Only the encoder half is ever
    built or read. `from_preset` reads KerasHub's T5 presets (`t5_1.1_xxl`,
    `kaggle://` or a directory) and Hugging Face's T5 and flan-T5 (`hf://` or a
    directory with `config.json`, safetensors or `pytorch_model.bin`, and
    `spiece.model`).

    Norms and softmax are computed in float32. Use `dtype="bfloat16"` for the
    large models; T5 overflows in float16, which is refused.

    Args:
        vocabulary_size: int. Rows of the token embedding.
        num_layers: int. Number of encoder layers.
        num_heads: int. Number of attention heads.
        hidden_dim: int. Width of the layers and of the embeddings.
        intermediate_dim: int. Width inside the feed-forward parts.
        key_value_dim: int. Width of a head. Defaults to
            `hidden_dim // num_heads`.
        activation: string, `"relu"`, `"gelu"` or `"gelu_approximate"`.
            KerasHub's presets say `"gelu"` where T5 1.1 was trained with the
            approximate one; `from_preset` follows the preset unless told.
            Defaults to `"gelu_approximate"`.
        use_gated_activation: bool. Defaults to `True`, as since T5 1.1.
        layer_norm_epsilon: float. Defaults to `1e-6`.
        num_buckets: int. Learned relative positions. Defaults to `32`.
        max_distance: int. Distance, in tokens, from which relative positions
            are one. Defaults to `128`.
        sequence_length: int. Tokens a prompt is padded or cut to. Defaults to
            `128`.
        vocabulary: path or bytes of a SentencePiece model. Defaults to
            `None`: the model works, `tokenize` does not.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        inputs: dict of `token_ids`, int32 of shape `(batch,
            sequence_length)`, and `padding_mask`, bool of that shape, true at
            real tokens.

    Returns:
        Float tensor of shape `(batch, sequence_length, hidden_dim)`.

    Raises:
        ValueError: if `dtype` computes in float16.

    Example:
    ```python
    import numpy as np
    import keras_muse

    encoder = keras_muse.T5TextEncoder(
        vocabulary_size=100, num_layers=2, num_heads=2, hidden_dim=16,
        intermediate_dim=32, sequence_length=8,
    )
    token_ids = np.ones((1, 8), "int32")
    text_embeddings = encoder(
        {"token_ids": token_ids, "padding_mask": token_ids > 0}
    )  # (1, 8, 16)
    ```

    Reference:
        - [Raffel et al., 2020](https://arxiv.org/abs/1910.10683)
        - [Muse, section 2.1](https://arxiv.org/abs/2301.00704)
    """

    presets = dict(keras_hub.models.T5Backbone.presets)
    vocabulary_file = "vocabulary.spm"
    converters = ("t5", "t5_keras_hub")
    get_layout_map = layout_map_method(TEXT_ENCODER_RULES)

    def __init__(
        self,
        vocabulary_size,
        num_layers,
        num_heads,
        hidden_dim,
        intermediate_dim,
        key_value_dim=None,
        activation="gelu_approximate",
        use_gated_activation=True,
        layer_norm_epsilon=1e-6,
        num_buckets=32,
        max_distance=128,
        sequence_length=128,
        vocabulary=None,
        dtype=None,
        **kwargs,
    ):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"`activation` must be one of {list(ACTIVATIONS)}. Received: "
                f"activation={activation!r}"
            )
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        if policy.compute_dtype == "float16":
            raise ValueError(
                "T5 overflows in float16; `dtype` may be bfloat16 or float32. "
                f"Received: dtype={policy.name!r}"
            )
        vocabulary_size = check_int(vocabulary_size, "vocabulary_size")
        num_layers = check_int(num_layers, "num_layers")
        num_heads = check_int(num_heads, "num_heads")
        hidden_dim = check_int(hidden_dim, "hidden_dim")
        intermediate_dim = check_int(intermediate_dim, "intermediate_dim")
        num_buckets = check_int(num_buckets, "num_buckets")
        max_distance = check_int(max_distance, "max_distance")
        if key_value_dim is None:
            key_value_dim = hidden_dim // num_heads
        key_value_dim = check_int(key_value_dim, "key_value_dim")

        # === Layers ===
        self.token_embedding = keras.layers.Embedding(
            vocabulary_size,
            hidden_dim,
            embeddings_initializer=initializers.RandomNormal(stddev=1.0),
            dtype=dtype,
            name="token_embedding",
        )
        self.position_bias = T5PositionBias(
            num_heads,
            num_buckets,
            max_distance,
            dtype=dtype,
            name="position_bias",
        )
        self.encoder_layers = [
            T5EncoderLayer(
                num_heads=num_heads,
                key_value_dim=key_value_dim,
                hidden_dim=hidden_dim,
                intermediate_dim=intermediate_dim,
                activation=activation,
                use_gated_activation=use_gated_activation,
                layer_norm_epsilon=layer_norm_epsilon,
                dtype=dtype,
                name=f"encoder_layer_{i}",
            )
            for i in range(num_layers)
        ]
        self.output_norm = keras.layers.RMSNormalization(
            epsilon=layer_norm_epsilon, dtype=dtype, name="output_norm"
        )

        # === Functional Model ===
        inputs = self.make_inputs(sequence_length)
        x = self.token_embedding(inputs["token_ids"])
        position_bias = self.position_bias(inputs["token_ids"])
        for layer in self.encoder_layers:
            x = layer(x, position_bias, inputs["padding_mask"])
        x = self.output_norm(x)

        # === Config ===
        self.vocabulary_size = vocabulary_size
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim
        self.key_value_dim = key_value_dim
        self.activation = activation
        self.use_gated_activation = use_gated_activation
        self.layer_norm_epsilon = layer_norm_epsilon
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        super().__init__(
            inputs=inputs,
            outputs=x,
            text_dim=hidden_dim,
            vocabulary=vocabulary,
            dtype=dtype,
            **kwargs,
        )

    def _make_tokenizer(self, vocabulary):
        tokenizer = sentencepiece.SentencePieceProcessor(
            model_proto=vocabulary, add_eos=True
        )
        return tokenizer, tokenizer.vocab_size()

    def _tokenize_to_lists(self, texts):
        return self._tokenizer.encode(texts)

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "vocabulary_size": self.vocabulary_size,
                "num_layers": self.num_layers,
                "num_heads": self.num_heads,
                "hidden_dim": self.hidden_dim,
                "intermediate_dim": self.intermediate_dim,
                "key_value_dim": self.key_value_dim,
                "activation": self.activation,
                "use_gated_activation": self.use_gated_activation,
                "layer_norm_epsilon": self.layer_norm_epsilon,
                "num_buckets": self.num_buckets,
                "max_distance": self.max_distance,
            }
        )
        return config
