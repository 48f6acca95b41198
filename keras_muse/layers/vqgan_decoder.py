"""Latent vectors to pictures."""

import keras

from keras_muse.layers.resnet_block import ResnetBlock
from keras_muse.layers.resnet_block import conv
from keras_muse.layers.resnet_block import group_norm
from keras_muse.layers.vqgan_encoder import NUM_MIDDLE_BLOCKS


@keras.saving.register_keras_serializable(package="keras_muse")
class VQGANDecoder(keras.layers.Layer):
    """Convolutional decoder, the mirror image of `VQGANEncoder`.

    Args:
        base_channels: int. Channels of the last level.
        channel_multipliers: tuple of ints, in the encoder's order: the
            decoder walks it backwards and doubles the picture between levels.
        num_res_blocks: int. Residual blocks a level.
        num_groups: int. Groups of the normalizations.
        use_bias: bool. Whether convolutions have a bias.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        x: float tensor of shape `(batch, height, width, codebook_dim)`.

    Returns:
        float32 tensor of shape `(batch, height * f, width * f, 3)` with
        `f = 2 ** (len(channel_multipliers) - 1)`, near [-1, 1].

    Example:
    ```python
    import numpy as np
    import keras_muse

    decoder = keras_muse.layers.VQGANDecoder(
        8, (1, 2), num_res_blocks=1, num_groups=4, use_bias=True
    )
    images = decoder(np.zeros((1, 8, 8, 4), "float32"))
    ```

    Reference:
        - [Muse, section 2.2 and appendix A.2](https://arxiv.org/abs/2301.00704)
    """

    def __init__(
        self,
        base_channels,
        channel_multipliers,
        num_res_blocks,
        num_groups,
        use_bias,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.base_channels = base_channels
        self.channel_multipliers = tuple(channel_multipliers)
        self.num_res_blocks = num_res_blocks
        self.num_groups = num_groups
        self.use_bias = use_bias

    def build(self, input_shape):
        dtype = self.dtype_policy
        channels = self.base_channels * self.channel_multipliers[-1]
        self.stages = [conv("conv_in", channels, 3, self.use_bias, dtype)]
        for block in range(NUM_MIDDLE_BLOCKS):
            self._add_block(f"middle_block_{block}", channels)
        for level in reversed(range(len(self.channel_multipliers))):
            channels = self.base_channels * self.channel_multipliers[level]
            for block in range(self.num_res_blocks):
                self._add_block(f"level_{level}_block_{block}", channels)
            if level > 0:
                self._add_upsample(level, channels)
        self.stages += [
            group_norm("norm_out", self.num_groups, dtype),
            keras.layers.Activation("silu", dtype=dtype, name="silu_out"),
            # Pixels leave in float32: bfloat16 has 8 bits, too few for them.
            conv("conv_out", 3, 3, True, "float32"),
        ]
        shape = input_shape
        for stage in self.stages:
            stage.build(shape)
            shape = stage.compute_output_shape(shape)
        self.built = True

    def _add_block(self, name, channels):
        self.stages.append(
            ResnetBlock(
                channels,
                self.num_groups,
                self.use_bias,
                dtype=self.dtype_policy,
                name=name,
            )
        )

    def _add_upsample(self, level, channels):
        self.stages += [
            keras.layers.UpSampling2D(
                2, dtype=self.dtype_policy, name=f"upsample_{level}"
            ),
            conv(
                f"upsample_{level}_conv",
                channels,
                3,
                True,
                self.dtype_policy,
            ),
        ]

    def call(self, x):
        for stage in self.stages:
            x = stage(x)
        return x

    def get_config(self):
        return {
            **super().get_config(),
            "base_channels": self.base_channels,
            "channel_multipliers": self.channel_multipliers,
            "num_res_blocks": self.num_res_blocks,
            "num_groups": self.num_groups,
            "use_bias": self.use_bias,
        }
