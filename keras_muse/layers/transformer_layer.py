"""One layer of the masked transformers: self-attention, text, MLP."""

import keras

from keras_muse.layers.attention import Attention
from keras_muse.layers.feed_forward import FeedForward
from keras_muse.layers.multi_axis_attention import MultiAxisAttention
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_int


@keras.saving.register_keras_serializable(package="keras_muse")
class TransformerLayer(keras.layers.Layer):
    """Pre-norm self-attention, cross-attention and MLP, each with a residual.

    Args:
        num_heads: int. Number of attention heads.
        intermediate_dim: int. Width of the MLP.
        use_cross_attention: bool. Whether the layer reads a context. Defaults
            to `True`.
        grid_size: pair of ints or `None`. With `block_size`, self-attention
            is multi-axis attention over this grid.
        block_size: int or `None`. Side of its blocks.
        use_gated_activation: bool. Whether the MLP is gated, as in
            `FeedForward`. Defaults to `False`.
        use_query_key_norm: bool. Whether attention normalizes its queries and
            keys, as in `Attention`. Defaults to `False`.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        x: float tensor of shape `(batch, num_tokens, hidden_dim)`.
        context_key_value: pair of tensors as `project_context` gives them;
            required if `use_cross_attention`.
        context_mask: bool tensor of shape `(batch, num_keys)`, true at keys
            that exist.

    Returns:
        Float tensor of the shape of `x`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.TransformerLayer(2, intermediate_dim=32)
    layer.build((None, 16, 8))
    text = layer.project_context(np.zeros((1, 5, 8), "float32"))
    y = layer(np.zeros((1, 16, 8), "float32"), context_key_value=text)
    ```

    Reference:
        - [Muse, section 2.3](https://arxiv.org/abs/2301.00704)
    """

    def __init__(
        self,
        num_heads,
        intermediate_dim,
        use_cross_attention=True,
        grid_size=None,
        block_size=None,
        use_gated_activation=False,
        use_query_key_norm=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = check_int(num_heads, "num_heads")
        self.intermediate_dim = check_int(intermediate_dim, "intermediate_dim")
        self.use_cross_attention = check_bool(
            use_cross_attention, "use_cross_attention"
        )
        self.grid_size = grid_size
        self.block_size = block_size
        self.use_gated_activation = check_bool(
            use_gated_activation, "use_gated_activation"
        )
        self.use_query_key_norm = check_bool(
            use_query_key_norm, "use_query_key_norm"
        )

    def build(self, input_shape):
        shape = (None, None, input_shape[-1])
        dtype = self.dtype_policy
        attention = {
            "use_query_key_norm": self.use_query_key_norm,
            "dtype": dtype,
        }
        if self.block_size is None:
            self.self_attention = Attention(
                self.num_heads, name="self_attention", **attention
            )
        else:
            self.self_attention = MultiAxisAttention(
                self.num_heads,
                self.grid_size,
                self.block_size,
                name="self_attention",
                **attention,
            )
        self.self_attention_norm = layer_norm("self_attention_norm", dtype)
        self.feed_forward = FeedForward(
            self.intermediate_dim,
            self.use_gated_activation,
            dtype=dtype,
            name="feed_forward",
        )
        self.feed_forward_norm = layer_norm("feed_forward_norm", dtype)
        parts = [
            self.self_attention_norm,
            self.self_attention,
            self.feed_forward_norm,
            self.feed_forward,
        ]
        if self.use_cross_attention:
            self.cross_attention = Attention(
                self.num_heads, name="cross_attention", **attention
            )
            self.cross_attention_norm = layer_norm(
                "cross_attention_norm", dtype
            )
            parts += [self.cross_attention_norm, self.cross_attention]
        for part in parts:
            part.build(shape)
        self.built = True

    def project_context(self, context):
        """Keys and values of the context for this layer's cross-attention."""
        return self.cross_attention.project(context)

    def call(self, x, context_key_value=None, context_mask=None):
        x = x + self.self_attention(self.self_attention_norm(x))
        if self.use_cross_attention:
            if context_key_value is None:
                raise ValueError(
                    "`context_key_value` is required where "
                    "`use_cross_attention` is True. Received: "
                    "context_key_value=None"
                )
            x = x + self.cross_attention(
                self.cross_attention_norm(x),
                key_value=context_key_value,
                key_mask=context_mask,
            )
        return x + self.feed_forward(self.feed_forward_norm(x))

    def compute_output_shape(self, input_shape, *args):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
            "use_cross_attention": self.use_cross_attention,
            "grid_size": self.grid_size,
            "block_size": self.block_size,
            "use_gated_activation": self.use_gated_activation,
            "use_query_key_norm": self.use_query_key_norm,
        }


def layer_norm(name, dtype):
    """Layer normalization as every transformer of the package uses it."""
    return keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name=name)
