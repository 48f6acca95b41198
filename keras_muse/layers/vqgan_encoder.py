"""Pictures to latent vectors."""

import keras

from keras_muse.layers.resnet_block import ResnetBlock
from keras_muse.layers.resnet_block import conv
from keras_muse.layers.resnet_block import group_norm

NUM_MIDDLE_BLOCKS = 2


@keras.saving.register_keras_serializable(package="keras_muse")
class VQGANEncoder(keras.layers.Layer):
    """Convolutional encoder without attention, for pictures of any size.

    Args:
        base_channels: int. Channels of the first level.
        channel_multipliers: tuple of ints. Channels of each level, in units
            of `base_channels`; between levels the picture is halved.
        num_res_blocks: int. Residual blocks a level.
        output_channels: int. Width of the latent vectors.
        num_groups: int. Groups of the normalizations.
        use_bias: bool. Whether convolutions have a bias.
        downsampling: string. `"avg_pool"` halves by the mean of 2 x 2 pixels,
            `"conv"` by a strided 3 x 3 convolution.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        x: float tensor of shape `(batch, height, width, 3)` in [-1, 1].

    Returns:
        Float tensor of shape `(batch, height / f, width / f,
        output_channels)` with `f = 2 ** (len(channel_multipliers) - 1)`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    encoder = keras_muse.layers.VQGANEncoder(
        8, (1, 2), num_res_blocks=1, output_channels=4, num_groups=4,
        use_bias=True, downsampling="avg_pool",
    )
    latents = encoder(np.zeros((1, 16, 16, 3), "float32"))
    ```

    Reference:
        - [Muse, section 2.2 and appendix A.2](https://arxiv.org/abs/2301.00704)
    """

    def __init__(
        self,
        base_channels,
        channel_multipliers,
        num_res_blocks,
        output_channels,
        num_groups,
        use_bias,
        downsampling,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if downsampling not in ("avg_pool", "conv"):
            raise ValueError(
                '`downsampling` must be "avg_pool" or "conv". Received: '
                f"downsampling={downsampling}"
            )
        self.base_channels = base_channels
        self.channel_multipliers = tuple(channel_multipliers)
        self.num_res_blocks = num_res_blocks
        self.output_channels = output_channels
        self.num_groups = num_groups
        self.use_bias = use_bias
        self.downsampling = downsampling

    def build(self, input_shape):
        dtype = self.dtype_policy
        channels = self.base_channels
        self.stages = [conv("conv_in", channels, 3, self.use_bias, dtype)]
        for level, multiplier in enumerate(self.channel_multipliers):
            if level > 0:
                self.stages.append(self._downsample(level, channels))
            channels = self.base_channels * multiplier
            for block in range(self.num_res_blocks):
                self._add_block(f"level_{level}_block_{block}", channels)
        for block in range(NUM_MIDDLE_BLOCKS):
            self._add_block(f"middle_block_{block}", channels)
        self.stages += [
            group_norm("norm_out", self.num_groups, dtype),
            keras.layers.Activation("silu", dtype=dtype, name="silu_out"),
            conv("conv_out", self.output_channels, 1, True, dtype),
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

    def _downsample(self, level, channels):
        name = f"downsample_{level}"
        if self.downsampling == "avg_pool":
            return keras.layers.AveragePooling2D(
                2, dtype=self.dtype_policy, name=name
            )
        return conv(
            name, channels, 3, self.use_bias, self.dtype_policy, strides=2
        )

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
            "output_channels": self.output_channels,
            "num_groups": self.num_groups,
            "use_bias": self.use_bias,
            "downsampling": self.downsampling,
        }
