"""The two layers of a T5 encoder.

KerasHub has them too, but internally, with the norm and the softmax in the
compute dtype: in bfloat16 they lose what T5 needs, here both are float32.
"""

import keras
import numpy as np
from keras import ops

from keras_muse.layers import initializers

# T5 1.0 has "relu"; T5 1.1 and flan have the tanh form of GELU, which
# KerasHub's presets replace by the exact one.
ACTIVATIONS = {
    "relu": ops.relu,
    "gelu": lambda x: ops.gelu(x, approximate=False),
    "gelu_approximate": lambda x: ops.gelu(x, approximate=True),
}


def relative_position_buckets(length, num_buckets, max_distance):
    """The bucket of each pair of positions, as a numpy array.

    Half of the buckets are for keys after the query. In each half the first
    half holds one distance each, the rest grow logarithmically up to
    `max_distance`, beyond which all share the last.

    Args:
        length: int. Number of positions.
        num_buckets: int, divisible by 4.
        max_distance: int. Distance from which the last bucket is used.

    Returns:
        int32 array of shape `(length, length)`, queries first.
    """
    positions = np.arange(length)
    offset = positions[None, :] - positions[:, None]  # key minus query
    distance = np.abs(offset)
    half = num_buckets // 2
    num_exact = half // 2
    # Float32 as in the original: it decides ties at the bucket borders.
    ratio = np.maximum(distance, 1).astype("float32") / num_exact
    steps = np.log(ratio) / np.float32(np.log(max_distance / num_exact))
    growing = num_exact + (steps * (half - num_exact)).astype("int32")
    bucket = np.where(
        distance < num_exact, distance, np.minimum(growing, half - 1)
    )
    return (bucket + half * (offset > 0)).astype("int32")


@keras.saving.register_keras_serializable(package="keras_muse")
class T5PositionBias(keras.layers.Layer):
    """Learned attention bias by relative position, shared by all layers.

    Args:
        num_heads: int. Number of attention heads.
        num_buckets: int. Number of learned values for each head.
        max_distance: int. Distance from which all share a bucket.

    Call arguments:
        token_ids: tensor of shape `(batch, length)`; only its shape is used.

    Returns:
        Float tensor of shape `(1, num_heads, length, length)`.
    """

    def __init__(self, num_heads, num_buckets, max_distance, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.num_buckets = num_buckets
        self.max_distance = max_distance

    def build(self, input_shape):
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.num_buckets, self.num_heads),
            initializer=initializers.RandomNormal(stddev=1.0),
        )

    def call(self, token_ids):
        buckets = relative_position_buckets(
            token_ids.shape[1], self.num_buckets, self.max_distance
        )
        bias = ops.take(self.embeddings, buckets, axis=0)
        # (queries, keys, num_heads) -> (1, num_heads, queries, keys)
        return ops.expand_dims(ops.transpose(bias, (2, 0, 1)), 0)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "num_buckets": self.num_buckets,
            "max_distance": self.max_distance,
        }


@keras.saving.register_keras_serializable(package="keras_muse")
class T5EncoderLayer(keras.layers.Layer):
    """Pre-norm self-attention and feed-forward block, without biases.

    Attention is not scaled by the width of a head: T5's initialization does
    that.

    Args:
        num_heads: int. Number of attention heads.
        key_value_dim: int. Width of a head.
        hidden_dim: int. Width of the layer.
        intermediate_dim: int. Width inside the feed-forward part.
        activation: string, a key of `ACTIVATIONS`.
        use_gated_activation: bool. Whether a second projection gates the
            activated one.
        layer_norm_epsilon: float. Added to the mean square.

    Call arguments:
        x: float tensor of shape `(batch, length, hidden_dim)`.
        position_bias: float tensor of shape `(1, num_heads, length,
            length)`.
        padding_mask: bool tensor of shape `(batch, length)`, true at keys
            that exist.

    Returns:
        Float tensor of the shape of `x`.
    """

    def __init__(
        self,
        num_heads,
        key_value_dim,
        hidden_dim,
        intermediate_dim,
        activation,
        use_gated_activation,
        layer_norm_epsilon,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.key_value_dim = key_value_dim
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim
        self.activation = activation
        self.use_gated_activation = use_gated_activation
        self.layer_norm_epsilon = layer_norm_epsilon

        inner_dim = num_heads * key_value_dim
        # The deviations of the original: they replace the scale of attention.
        self.query = self._dense(
            "query", inner_dim, (hidden_dim * key_value_dim) ** -0.5
        )
        self.key = self._dense("key", inner_dim, hidden_dim**-0.5)
        self.value = self._dense("value", inner_dim, hidden_dim**-0.5)
        self.attention_output = self._dense(
            "attention_output", hidden_dim, inner_dim**-0.5
        )
        self.intermediate_dense = self._dense(
            "intermediate_dense", intermediate_dim, hidden_dim**-0.5
        )
        if use_gated_activation:
            self.gate_dense = self._dense(
                "gate_dense", intermediate_dim, hidden_dim**-0.5
            )
        self.output_dense = self._dense(
            "output_dense", hidden_dim, intermediate_dim**-0.5
        )
        self.attention_norm = self._norm("attention_norm")
        self.feed_forward_norm = self._norm("feed_forward_norm")

    def _dense(self, name, units, stddev):
        return keras.layers.Dense(
            units,
            use_bias=False,
            kernel_initializer=initializers.RandomNormal(stddev=stddev),
            dtype=self.dtype_policy,
            name=name,
        )

    def _norm(self, name):
        # Keras computes it in float32 whatever the compute dtype.
        return keras.layers.RMSNormalization(
            epsilon=self.layer_norm_epsilon, dtype=self.dtype_policy, name=name
        )

    def build(self, input_shape):
        # Without this and the output's shape Keras would trace the call twice.
        mixed_dim = self.num_heads * self.key_value_dim
        for part in (self.query, self.key, self.value, self.intermediate_dense):
            part.build(input_shape)
        if self.use_gated_activation:
            self.gate_dense.build(input_shape)
        self.attention_output.build((*input_shape[:-1], mixed_dim))
        self.output_dense.build((*input_shape[:-1], self.intermediate_dim))
        self.attention_norm.build(input_shape)
        self.feed_forward_norm.build(input_shape)
        self.built = True

    def call(self, x, position_bias, padding_mask):
        normed = self.attention_norm(x)
        x = x + self._attend(normed, position_bias, padding_mask)
        return x + self._feed_forward(self.feed_forward_norm(x))

    def _attend(self, x, position_bias, padding_mask):
        query = self._split_heads(self.query(x))
        key = self._split_heads(self.key(x))
        value = self._split_heads(self.value(x))
        scores = ops.einsum("bqhd,bkhd->bhqk", query, key)
        scores = ops.cast(scores, "float32")
        scores = scores + ops.cast(position_bias, "float32")
        scores = ops.where(padding_mask[:, None, None, :], scores, -1e9)
        weights = ops.cast(ops.softmax(scores, axis=-1), value.dtype)
        mixed = ops.einsum("bhqk,bkhd->bqhd", weights, value)
        inner_dim = self.num_heads * self.key_value_dim
        return self.attention_output(
            ops.reshape(mixed, (-1, x.shape[1], inner_dim))
        )

    def _split_heads(self, x):
        shape = (-1, x.shape[1], self.num_heads, self.key_value_dim)
        return ops.reshape(x, shape)

    def _feed_forward(self, x):
        hidden = ACTIVATIONS[self.activation](self.intermediate_dense(x))
        if self.use_gated_activation:
            hidden = hidden * self.gate_dense(x)
        return self.output_dense(hidden)

    def compute_output_shape(self, input_shape, *args):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_value_dim": self.key_value_dim,
            "hidden_dim": self.hidden_dim,
            "intermediate_dim": self.intermediate_dim,
            "activation": self.activation,
            "use_gated_activation": self.use_gated_activation,
            "layer_norm_epsilon": self.layer_norm_epsilon,
        }
