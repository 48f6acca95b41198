"""One transformer layer of the U-ViT."""

import keras

from keras_muse.layers.attention import Attention
from keras_muse.layers.conditional_norm import ConditionalNorm
from keras_muse.layers.dense import apply_to_rows
from keras_muse.layers.dense import dense
from keras_muse.runtime.checks import check_int


@keras.saving.register_keras_serializable(package="keras_muse")
class UViTTransformerLayer(keras.layers.Layer):
    """Self-attention, cross-attention and gated MLP under a condition.

    Args:
        num_heads: int. Number of attention heads.
        intermediate_dim: int. Width of the MLP.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        x: float tensor of shape `(batch, num_tokens, hidden_dim)`.
        context: what `project_context` gives.
        context_mask: bool tensor of shape `(batch, text_length)`, true at
            keys that exist.

    Returns:
        Float tensor of the shape of `x`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.UViTTransformerLayer(2, intermediate_dim=32)
    layer.build((None, None, 8))
    context = layer.project_context(np.zeros((1, 1 + 5, 8), "float32"))
    y = layer(
        np.zeros((1, 16, 8), "float32"), context, np.ones((1, 5), "bool")
    )
    ```

    Reference:
        - [aMUSEd](https://arxiv.org/abs/2401.01808)
    """

    def __init__(self, num_heads, intermediate_dim, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = check_int(num_heads, "num_heads")
        self.intermediate_dim = check_int(intermediate_dim, "intermediate_dim")

    def build(self, input_shape):
        shape = (None, None, input_shape[-1])
        policy = self.dtype_policy

        def attention(name):
            return Attention(self.num_heads, dtype=policy, name=name)

        def projection(name, width):
            return dense(name, width, policy, use_bias=False)

        self.self_attention_norm = ConditionalNorm(
            dtype=policy, name="self_attention_norm"
        )
        self.self_attention = attention("self_attention")
        self.cross_attention_norm = ConditionalNorm(
            dtype=policy, name="cross_attention_norm"
        )
        self.cross_attention = attention("cross_attention")
        self.feed_forward_norm = ConditionalNorm(
            norm_type="layer", dtype=policy, name="feed_forward_norm"
        )
        self.intermediate_dense = projection(
            "intermediate_dense", self.intermediate_dim
        )
        self.gate_dense = projection("gate_dense", self.intermediate_dim)
        self.output_dense = projection("output_dense", shape[-1])
        for part in (
            *self._norms,
            self.self_attention,
            self.cross_attention,
            self.intermediate_dense,
            self.gate_dense,
        ):
            part.build(shape)
        self.output_dense.build((None, None, self.intermediate_dim))
        self.built = True

    @property
    def _norms(self):
        return (
            self.self_attention_norm,
            self.cross_attention_norm,
            self.feed_forward_norm,
        )

    def project_context(self, context):
        """What the layer makes of the context, whatever the tokens are.

        Args:
            context: float tensor of shape `(batch, 1 + text_length,
                hidden_dim)`: the condition, then the text.

        Returns:
            A tuple, the keys and values of the text and the scales and shifts
            of the three norms.
        """
        condition, text = context[:, 0], context[:, 1:]
        return (
            self.cross_attention.project(text),
            [norm.project(condition) for norm in self._norms],
        )

    def call(self, x, context, context_mask):
        key_value, modulations = context
        y = self.self_attention_norm(x, modulations[0])
        x = x + self.self_attention(y)
        y = self.cross_attention_norm(x, modulations[1])
        x = x + self.cross_attention(y, key_value, context_mask)
        y = self.feed_forward_norm(x, modulations[2])
        return x + apply_to_rows(self._feed_forward, y)

    def _feed_forward(self, x):
        # The exact GELU, not its tanh form.
        gate = keras.activations.gelu(self.gate_dense(x), approximate=False)
        return self.output_dense(gate * self.intermediate_dense(x))

    def compute_output_shape(self, input_shape, *args):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
        }
