"""The convolutional block of the U-ViT."""

import keras
from keras import ops

from keras_muse.layers.conditional_norm import modulate
from keras_muse.layers.conditional_norm import rms_norm
from keras_muse.layers.dense import dense
from keras_muse.runtime.checks import check_int

EXPANSION = 4


@keras.saving.register_keras_serializable(package="keras_muse")
class ConvNeXtBlock(keras.layers.Layer):
    """A ConvNeXt V2 block that a condition scales and shifts.

    A depthwise 3 x 3 convolution sees neighbours, an MLP four times as wide
    with global response normalization mixes channels, and the sum with the
    input is scaled and shifted.

    Args:
        condition_dim: int. Width of the condition.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        x: float tensor of shape `(batch, height, width, channels)`.
        scale_and_shift: tensor of shape `(batch, 2 * channels)`, as
            `project(condition)` gives it.

    Returns:
        Float tensor of the shape of `x`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.ConvNeXtBlock(condition_dim=16)
    layer.build((None, None, None, 8))
    scale_and_shift = layer.project(np.ones((1, 16), "float32"))
    y = layer(np.ones((1, 4, 4, 8), "float32"), scale_and_shift)
    ```

    Reference:
        - [ConvNeXt V2](https://arxiv.org/abs/2301.00808)
    """

    def __init__(self, condition_dim, **kwargs):
        super().__init__(**kwargs)
        self.condition_dim = check_int(condition_dim, "condition_dim")

    def build(self, input_shape):
        channels, policy = input_shape[-1], self.dtype_policy
        wide_shape = (*input_shape[:-1], EXPANSION * channels)
        self.depthwise = keras.layers.DepthwiseConv2D(
            3,
            data_format="channels_last",
            padding="same",
            use_bias=False,
            dtype=policy,
            name="depthwise",
        )
        self.norm = rms_norm("norm", policy)
        self.intermediate_dense = dense(
            "intermediate_dense", EXPANSION * channels, policy, use_bias=False
        )
        self.output_dense = dense(
            "output_dense", channels, policy, use_bias=False
        )
        self.modulation = dense(
            "modulation", 2 * channels, policy, use_bias=False
        )
        for layer in (self.depthwise, self.norm, self.intermediate_dense):
            layer.build(input_shape)
        self.output_dense.build(wide_shape)
        self.modulation.build((None, self.condition_dim))
        # Global response normalization starts as the identity.
        self.response_scale, self.response_shift = (
            self.add_weight(shape=wide_shape[-1:], initializer="zeros", name=x)
            for x in ("response_scale", "response_shift")
        )
        self.built = True

    def project(self, condition):
        """Scale and shift, to be kept while the condition does not change."""
        return self.modulation(keras.activations.silu(condition))

    def call(self, x, scale_and_shift):
        y = self.intermediate_dense(self.norm(self.depthwise(x)))
        y = keras.activations.gelu(y, approximate=False)
        y = self.output_dense(self._normalize_response(y))
        return modulate(x + y, scale_and_shift)

    def _normalize_response(self, x):
        """Makes channels compete: each by its norm over the whole picture."""
        wide = ops.cast(x, "float32")
        norm = ops.sqrt(ops.sum(ops.square(wide), axis=(1, 2), keepdims=True))
        share = norm / (ops.mean(norm, axis=-1, keepdims=True) + 1e-6)
        share = ops.cast(share, x.dtype)
        scale, shift = (
            ops.cast(weight, x.dtype)
            for weight in (self.response_scale, self.response_shift)
        )
        return scale * (x * share) + shift + x

    def compute_output_shape(self, input_shape, *args):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "condition_dim": self.condition_dim}
