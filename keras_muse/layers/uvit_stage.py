"""The convolutional stage before and after the transformer of the U-ViT."""

import keras
from keras import ops

from keras_muse.layers.conditional_norm import rms_norm
from keras_muse.layers.convnext_block import ConvNeXtBlock
from keras_muse.layers.text_attention_block import TextAttentionBlock
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_int


@keras.saving.register_keras_serializable(package="keras_muse")
class UViTStage(keras.layers.Layer):
    """Convolutions alternating with attention to the text, at one resolution.

    Args:
        num_blocks: int. Number of blocks; each is a convolutional block and
            two cross-attentions.
        num_heads: int. Heads of the cross-attentions.
        condition_dim: int. Width of the context.
        downsample: bool. Whether a convolution halves the grid first.
            Defaults to `False`.
        upsample: bool. Whether a transposed convolution doubles it at the end.
            Defaults to `False`.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        x: float tensor of shape `(batch, height, width, channels)`.
        context: what `project_context` gives.
        context_mask: bool tensor of shape `(batch, text_length)`, true at
            keys that exist.

    Returns:
        Float tensor of shape `(batch, height, width, channels)`, halved or
        doubled in height and width.

    Example:
    ```python
    import numpy as np
    import keras_muse

    stage = keras_muse.layers.UViTStage(1, 2, condition_dim=16, downsample=True)
    stage.build((None, None, None, 8))
    context = stage.project_context(np.zeros((1, 1 + 5, 16), "float32"))
    y = stage(
        np.zeros((1, 4, 4, 8), "float32"), context, np.ones((1, 5), "bool")
    )  # (1, 2, 2, 8)
    ```

    Reference:
        - [aMUSEd](https://arxiv.org/abs/2401.01808)
    """

    def __init__(
        self,
        num_blocks,
        num_heads,
        condition_dim,
        downsample=False,
        upsample=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_blocks = check_int(num_blocks, "num_blocks")
        self.num_heads = check_int(num_heads, "num_heads")
        self.condition_dim = check_int(condition_dim, "condition_dim")
        self.downsample = check_bool(downsample, "downsample")
        self.upsample = check_bool(upsample, "upsample")

    def build(self, input_shape):
        channels, policy = input_shape[-1], self.dtype_policy
        shape = (None, None, None, channels)
        self.conv_blocks = [
            ConvNeXtBlock(
                self.condition_dim, dtype=policy, name=f"convnext_{i}"
            )
            for i in range(self.num_blocks)
        ]
        self.attention_blocks = [
            TextAttentionBlock(
                self.num_heads,
                self.condition_dim,
                dtype=policy,
                name=f"attention_{i}",
            )
            for i in range(self.num_blocks)
        ]
        for block in self.conv_blocks:
            block.build(shape)
        for block in self.attention_blocks:
            block.build((None, None, channels))
        if self.downsample:
            self.downsample_norm = rms_norm("downsample_norm", policy)
            self.downsample_conv = keras.layers.Conv2D(
                channels,
                2,
                strides=2,
                data_format="channels_last",
                use_bias=False,
                dtype=policy,
                name="downsample_conv",
            )
            self.downsample_norm.build(shape)
            self.downsample_conv.build(shape)
        if self.upsample:
            self.upsample_norm = rms_norm("upsample_norm", policy)
            self.upsample_conv = keras.layers.Conv2DTranspose(
                channels,
                2,
                strides=2,
                data_format="channels_last",
                use_bias=False,
                dtype=policy,
                name="upsample_conv",
            )
            self.upsample_norm.build(shape)
            self.upsample_conv.build(shape)
        self.built = True

    def project_context(self, context):
        """What the blocks make of the context, whatever the tokens are.

        Args:
            context: float tensor of shape `(batch, 1 + text_length,
                condition_dim)`: the condition, then the text.

        Returns:
            A list with the scale and shift, and the keys and values, of each
            block.
        """
        condition, text = context[:, 0], context[:, 1:]
        return [
            (conv.project(condition), attention.project_context(text))
            for conv, attention in zip(
                self.conv_blocks, self.attention_blocks, strict=True
            )
        ]

    def call(self, x, context, context_mask):
        if self.downsample:
            x = self.downsample_conv(self.downsample_norm(x))
        height, width, channels = x.shape[1:]
        for conv, attention, (scale_and_shift, key_values) in zip(
            self.conv_blocks, self.attention_blocks, context, strict=True
        ):
            x = conv(x, scale_and_shift)
            x = ops.reshape(x, (-1, height * width, channels))
            x = attention(x, key_values, context_mask)
            x = ops.reshape(x, (-1, height, width, channels))
        if self.upsample:
            x = self.upsample_conv(self.upsample_norm(x))
        return x

    def compute_output_shape(self, input_shape, *args):
        batch, height, width, channels = input_shape
        factor = (0.5 if self.downsample else 1) * (2 if self.upsample else 1)
        sides = [
            None if side is None else int(side * factor)
            for side in (height, width)
        ]
        return batch, *sides, channels

    def get_config(self):
        return {
            **super().get_config(),
            "num_blocks": self.num_blocks,
            "num_heads": self.num_heads,
            "condition_dim": self.condition_dim,
            "downsample": self.downsample,
            "upsample": self.upsample,
        }
