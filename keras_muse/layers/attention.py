"""Multi-head attention of image tokens to themselves or to a context."""

import keras
from keras import ops

from keras_muse.layers.dense import apply_to_rows
from keras_muse.layers.dense import dense
from keras_muse.ops import attention
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_int


@keras.saving.register_keras_serializable(package="keras_muse")
class Attention(keras.layers.Layer):
    """Multi-head attention whose keys and values can be computed once.

    The projections `query`, `key`, `value` and `attention_output` are separate
    `Dense` layers without bias: LoRA and `quantize` act on each by its name,
    and a text that is dropped contributes exactly nothing.

    Args:
        num_heads: int. Number of heads; it divides the width of the input.
        use_query_key_norm: bool. Whether the queries and the keys of each head
            pass a layer normalization without shift. Defaults to `False`.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        x: float tensor of shape `(batch, num_tokens, hidden_dim)`. Queries.
        key_value: pair of tensors as `project(context)` gives them. Defaults
            to the projection of `x`, which is self-attention.
        key_mask: bool tensor of shape `(batch, num_keys)`, true at keys that
            exist. Defaults to all.

    Returns:
        Float tensor of the shape of `x`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.Attention(num_heads=2)
    layer.build((None, 16, 8))
    x = np.random.normal(size=(1, 16, 8)).astype("float32")
    text = np.random.normal(size=(1, 5, 8)).astype("float32")
    y = layer(x, key_value=layer.project(text))
    ```

    Reference:
        - [ViT-22B, section 2](https://arxiv.org/abs/2302.05442)
    """

    def __init__(self, num_heads, use_query_key_norm=False, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = check_int(num_heads, "num_heads")
        self.use_query_key_norm = check_bool(
            use_query_key_norm, "use_query_key_norm"
        )

    def build(self, input_shape):
        hidden_dim = input_shape[-1]
        if hidden_dim % self.num_heads:
            raise ValueError(
                "`num_heads` must divide the width of the input. Received: "
                f"num_heads={self.num_heads}, width={hidden_dim}"
            )
        self.query = self._projection("query", hidden_dim)
        self.key = self._projection("key", hidden_dim)
        self.value = self._projection("value", hidden_dim)
        self.attention_output = self._projection("attention_output", hidden_dim)
        if self.use_query_key_norm:
            head_dim = hidden_dim // self.num_heads
            self.query_norm = self._norm("query_norm", head_dim)
            self.key_norm = self._norm("key_norm", head_dim)
        self.built = True

    def _projection(self, name, hidden_dim):
        layer = dense(name, hidden_dim, self.dtype_policy, use_bias=False)
        layer.build((None, None, hidden_dim))
        return layer

    def _norm(self, name, head_dim):
        layer = keras.layers.LayerNormalization(
            epsilon=1e-6, center=False, dtype=self.dtype_policy, name=name
        )
        layer.build((None, None, self.num_heads, head_dim))
        return layer

    def project(self, context):
        """Keys and values of a context, to be kept while it does not change.

        Args:
            context: float tensor of shape `(batch, num_keys, hidden_dim)`.

        Returns:
            A pair of tensors of shape `(batch, num_keys, num_heads,
            head_dim)`.
        """
        key = apply_to_rows(self.key, context)
        value = apply_to_rows(self.value, context)
        key, value = self._split_heads(key), self._split_heads(value)
        if self.use_query_key_norm:
            key = self.key_norm(key)
        return key, value

    def call(self, x, key_value=None, key_mask=None):
        if key_mask is not None:
            key_mask = ops.cast(key_mask, "bool")
        key, value = self.project(x) if key_value is None else key_value
        query = self._split_heads(apply_to_rows(self.query, x))
        if self.use_query_key_norm:
            query = self.query_norm(query)
        attended = self.mix(query, key, value, key_mask)
        # (batch, num_tokens, num_heads, head_dim) -> (batch, num_tokens, dim)
        attended = ops.reshape(attended, (-1, x.shape[1], x.shape[2]))
        return apply_to_rows(self.attention_output, attended)

    def mix(self, query, key, value, key_mask):
        """The attention itself; a subclass may restrict who sees whom."""
        return attention.attend(query, key, value, key_mask)

    def _split_heads(self, x):
        head_dim = x.shape[-1] // self.num_heads
        # TensorFlow may not know the length of a text as it traces.
        return ops.reshape(x, (-1, ops.shape(x)[1], self.num_heads, head_dim))

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "use_query_key_norm": self.use_query_key_norm,
        }
