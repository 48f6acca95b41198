"""What the encoder and the decoder of a VQGAN are built of."""

import keras

from keras_muse.layers.resnet_block import ResnetBlock
from keras_muse.layers.spatial_attention import SpatialAttention


class LayerStack(keras.layers.Layer):
    """A row of layers, each of which reads what the one before gives.

    Args:
        base_channels: int. Channels of the level of full resolution.
        channel_multipliers: tuple of ints. Channels of each level, in units
            of `base_channels`.
        num_res_blocks: int. Residual blocks a level.
        num_groups: int. Groups of the normalizations.
        use_bias: bool. Whether convolutions have a bias.
        attention_levels: tuple of ints. Levels whose residual blocks are
            followed by attention. Defaults to none.
        use_middle_attention: bool. Whether there is attention between the
            two middle blocks. Defaults to `False`.
        latent_dim: int or `None`. Channels between the 1 x 1 convolution at
            the codebook and the rest; `None`, the default, is without such a
            convolution.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        base_channels,
        channel_multipliers,
        num_res_blocks,
        num_groups,
        use_bias,
        attention_levels=(),
        use_middle_attention=False,
        latent_dim=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        levels = range(len(channel_multipliers))
        if not set(attention_levels) <= set(levels):
            raise ValueError(
                "`attention_levels` must be indices of `channel_multipliers`. "
                f"Received: attention_levels={attention_levels}, "
                f"channel_multipliers={channel_multipliers}"
            )
        self.base_channels = base_channels
        self.channel_multipliers = tuple(channel_multipliers)
        self.num_res_blocks = num_res_blocks
        self.num_groups = num_groups
        self.use_bias = use_bias
        self.attention_levels = tuple(attention_levels)
        self.use_middle_attention = use_middle_attention
        self.latent_dim = latent_dim

    def build(self, input_shape):
        self.stages = self._make_stages()
        shape = input_shape
        for stage in self.stages:
            stage.build(shape)
            shape = stage.compute_output_shape(shape)
        self.output_shape = shape  # for `summary`
        self.built = True

    def call(self, x):
        for stage in self.stages:
            x = stage(x)
        return x

    def _level(self, level):
        """The residual blocks of a level, and their attention."""
        channels = self.base_channels * self.channel_multipliers[level]
        for block in range(self.num_res_blocks):
            yield self._block(f"level_{level}_block_{block}", channels)
            if level in self.attention_levels:
                yield self._attention(f"level_{level}_attention_{block}")

    def _middle(self):
        channels = self.base_channels * self.channel_multipliers[-1]
        yield self._block("middle_block_0", channels)
        if self.use_middle_attention:
            yield self._attention("middle_attention")
        yield self._block("middle_block_1", channels)

    def _block(self, name, channels):
        return ResnetBlock(
            channels,
            self.num_groups,
            self.use_bias,
            dtype=self.dtype_policy,
            name=name,
        )

    def _attention(self, name):
        return SpatialAttention(
            self.num_groups, dtype=self.dtype_policy, name=name
        )

    def get_config(self):
        return {
            **super().get_config(),
            "base_channels": self.base_channels,
            "channel_multipliers": self.channel_multipliers,
            "num_res_blocks": self.num_res_blocks,
            "num_groups": self.num_groups,
            "use_bias": self.use_bias,
            "attention_levels": self.attention_levels,
            "use_middle_attention": self.use_middle_attention,
            "latent_dim": self.latent_dim,
        }
