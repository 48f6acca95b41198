"""Pictures to latent vectors."""

import keras

from keras_muse.layers.layer_stack import LayerStack
from keras_muse.layers.resnet_block import conv
from keras_muse.layers.resnet_block import group_norm
from keras_muse.runtime.checks import check_choice


@keras.saving.register_keras_serializable(package="keras_muse")
class VQGANEncoder(LayerStack):
    """Convolutional encoder for pictures of any size.

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
        attention_levels: tuple of ints. Levels, as indices into
            `channel_multipliers`, whose residual blocks are each followed by
            attention. Defaults to none.
        use_middle_attention: bool. Whether there is attention between the
            two middle blocks. Defaults to `False`.
        latent_dim: int or `None`. With an int the end is a 3 x 3 convolution
            to so many channels and a 1 x 1 convolution to `output_channels`;
            with `None`, the default, a 1 x 1 convolution.
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
        attention_levels=(),
        use_middle_attention=False,
        latent_dim=None,
        **kwargs,
    ):
        super().__init__(
            base_channels,
            channel_multipliers,
            num_res_blocks,
            num_groups,
            use_bias,
            attention_levels,
            use_middle_attention,
            latent_dim,
            **kwargs,
        )
        self.output_channels = output_channels
        self.downsampling = check_choice(
            downsampling, "downsampling", ("avg_pool", "conv")
        )

    def _make_stages(self):
        dtype = self.dtype_policy
        stages = [conv("conv_in", self.base_channels, 3, self.use_bias, dtype)]
        for level in range(len(self.channel_multipliers)):
            if level > 0:
                stages.append(self._downsample(level))
            stages += self._level(level)
        stages += [
            *self._middle(),
            group_norm("norm_out", self.num_groups, dtype),
            keras.layers.Activation("silu", dtype=dtype, name="silu_out"),
        ]
        if self.latent_dim is None:
            return [
                *stages,
                conv("conv_out", self.output_channels, 1, True, dtype),
            ]
        return [
            *stages,
            conv("conv_out", self.latent_dim, 3, True, dtype),
            conv("quant_conv", self.output_channels, 1, True, dtype),
        ]

    def _downsample(self, level):
        name, dtype = f"downsample_{level}", self.dtype_policy
        if self.downsampling == "avg_pool":
            return keras.layers.AveragePooling2D(
                2, data_format="channels_last", dtype=dtype, name=name
            )
        channels = self.base_channels * self.channel_multipliers[level - 1]
        # Of an even side, "same" pads one row at the end, as others do.
        return conv(name, channels, 3, self.use_bias, dtype, strides=2)

    def get_config(self):
        return {
            **super().get_config(),
            "output_channels": self.output_channels,
            "downsampling": self.downsampling,
        }
