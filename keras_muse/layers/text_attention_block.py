"""The attention of the U-ViT's convolutional stages."""

import keras

from keras_muse.layers.attention import Attention
from keras_muse.layers.conditional_norm import rms_norm
from keras_muse.layers.dense import apply_to_rows
from keras_muse.layers.dense import dense
from keras_muse.runtime.checks import check_int


@keras.saving.register_keras_serializable(package="keras_muse")
class TextAttentionBlock(keras.layers.Layer):
    """Two cross-attentions to the text, and none among the tokens.

    Args:
        num_heads: int.
        text_dim: int. Width of the text, which is mapped to that of the
            tokens where they differ.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        x: float tensor of shape `(batch, num_tokens, channels)`.
        key_values: what `project_context` gives.
        context_mask: bool tensor of shape `(batch, text_length)`.

    Returns:
        Float tensor of the shape of `x`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.TextAttentionBlock(2, text_dim=16)
    layer.build((None, None, 8))
    key_values = layer.project_context(np.zeros((1, 5, 16), "float32"))
    y = layer(
        np.zeros((1, 16, 8), "float32"), key_values, np.ones((1, 5), "bool")
    )
    ```
    """

    def __init__(self, num_heads, text_dim, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = check_int(num_heads, "num_heads")
        self.text_dim = check_int(text_dim, "text_dim")

    def build(self, input_shape):
        channels, policy = input_shape[-1], self.dtype_policy
        self.norms = [rms_norm(f"norm_{i}", policy) for i in range(2)]
        self.attentions = [
            Attention(self.num_heads, dtype=policy, name=f"cross_attention_{i}")
            for i in range(2)
        ]
        for layer in (*self.norms, *self.attentions):
            layer.build(input_shape)
        self.text_mapper = None
        if self.text_dim != channels:
            self.text_mapper = dense(
                "text_mapper", channels, policy, use_bias=False
            )
            self.text_mapper.build((None, None, self.text_dim))
        self.built = True

    def project_context(self, text):
        """Keys and values of both attentions."""
        if self.text_mapper is not None:
            text = apply_to_rows(self.text_mapper, keras.activations.silu(text))
        return [attention.project(text) for attention in self.attentions]

    def call(self, x, key_values, context_mask):
        for norm, attention, key_value in zip(
            self.norms, self.attentions, key_values, strict=True
        ):
            x = x + attention(norm(x), key_value, context_mask)
        return x

    def compute_output_shape(self, input_shape, *args):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "text_dim": self.text_dim,
        }
