"""The layer of a BERT encoder."""

import keras
from keras import ops

from keras_muse.layers import initializers
from keras_muse.ops import attention


@keras.saving.register_keras_serializable(package="keras_muse")
class BertEncoderLayer(keras.layers.Layer):
    """Post-norm self-attention and feed-forward block, with biases.

    KerasHub's BERT takes the tanh form of GELU and lets Keras choose the
    attention kernel; BERT was trained with the exact GELU used here, and
    `keras_muse.ops.attention` says what is wrong with the choice.

    Args:
        num_heads: int. Number of attention heads; it divides `hidden_dim`.
        hidden_dim: int. Width of the layer.
        intermediate_dim: int. Width inside the feed-forward part.
        layer_norm_epsilon: float. Added to the variance.

    Call arguments:
        x: float tensor of shape `(batch, length, hidden_dim)`.
        padding_mask: bool tensor of shape `(batch, length)`, true at keys
            that exist.

    Returns:
        Float tensor of the shape of `x`.
    """

    def __init__(
        self,
        num_heads,
        hidden_dim,
        intermediate_dim,
        layer_norm_epsilon,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim
        self.layer_norm_epsilon = layer_norm_epsilon

        self.query = self._dense("query", hidden_dim)
        self.key = self._dense("key", hidden_dim)
        self.value = self._dense("value", hidden_dim)
        self.attention_output = self._dense("attention_output", hidden_dim)
        self.intermediate_dense = self._dense(
            "intermediate_dense", intermediate_dim
        )
        self.output_dense = self._dense("output_dense", hidden_dim)
        self.attention_norm = self._norm("attention_norm")
        self.feed_forward_norm = self._norm("feed_forward_norm")

    def _dense(self, name, units):
        return keras.layers.Dense(
            units,
            kernel_initializer=initializers.TruncatedNormal(stddev=0.02),
            dtype=self.dtype_policy,
            name=name,
        )

    def _norm(self, name):
        return keras.layers.LayerNormalization(
            epsilon=self.layer_norm_epsilon, dtype=self.dtype_policy, name=name
        )

    def build(self, input_shape):
        # Without this and the output's shape Keras would trace the call twice.
        hidden, inner = input_shape, (*input_shape[:-1], self.intermediate_dim)
        for part in (self.query, self.key, self.value, self.attention_output):
            part.build(hidden)
        self.intermediate_dense.build(hidden)
        self.output_dense.build(inner)
        self.attention_norm.build(hidden)
        self.feed_forward_norm.build(hidden)
        self.built = True

    def call(self, x, padding_mask):
        x = self.attention_norm(x + self._attend(x, padding_mask))
        hidden = ops.gelu(self.intermediate_dense(x), approximate=False)
        return self.feed_forward_norm(x + self.output_dense(hidden))

    def _attend(self, x, padding_mask):
        heads = (
            -1,
            x.shape[1],
            self.num_heads,
            self.hidden_dim // self.num_heads,
        )
        mixed = attention.attend(
            ops.reshape(self.query(x), heads),
            ops.reshape(self.key(x), heads),
            ops.reshape(self.value(x), heads),
            padding_mask,
        )
        mixed = ops.reshape(mixed, (-1, x.shape[1], self.hidden_dim))
        return self.attention_output(mixed)

    def compute_output_shape(self, input_shape, *args):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "intermediate_dim": self.intermediate_dim,
            "layer_norm_epsilon": self.layer_norm_epsilon,
        }
