"""Latent vectors to pictures."""

import keras

from keras_muse.layers.layer_stack import LayerStack
from keras_muse.layers.resnet_block import conv
from keras_muse.layers.resnet_block import group_norm


@keras.saving.register_keras_serializable(package="keras_muse")
class VQGANDecoder(LayerStack):
    """Convolutional decoder, the mirror image of `VQGANEncoder`.

    Args:
        base_channels: int. Channels of the last level.
        channel_multipliers: tuple of ints, in the encoder's order: the
            decoder walks it backwards and doubles the picture between levels.
        num_res_blocks: int. Residual blocks a level.
        num_groups: int. Groups of the normalizations.
        use_bias: bool. Whether convolutions have a bias.
        attention_levels: tuple of ints. Levels, as indices into
            `channel_multipliers`, whose residual blocks are each followed by
            attention. Defaults to none.
        use_middle_attention: bool. Whether there is attention between the
            two middle blocks. Defaults to `False`.
        latent_dim: int or `None`. With an int the decoder begins with a
            1 x 1 convolution to so many channels; with `None`, the default,
            without one.
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

    def _make_stages(self):
        dtype = self.dtype_policy
        channels = self.base_channels * self.channel_multipliers[-1]
        stages = []
        if self.latent_dim is not None:
            stages += [conv("post_quant_conv", self.latent_dim, 1, True, dtype)]
        stages += [
            conv("conv_in", channels, 3, self.use_bias, dtype),
            *self._middle(),
        ]
        for level in reversed(range(len(self.channel_multipliers))):
            stages += self._level(level)
            if level > 0:
                stages += self._upsample(level)
        return [
            *stages,
            group_norm("norm_out", self.num_groups, dtype),
            keras.layers.Activation("silu", dtype=dtype, name="silu_out"),
            # Pixels leave in float32: bfloat16 has 8 bits, too few for them.
            conv("conv_out", 3, 3, True, "float32"),
        ]

    def _upsample(self, level):
        name, dtype = f"upsample_{level}", self.dtype_policy
        channels = self.base_channels * self.channel_multipliers[level]
        return [
            keras.layers.UpSampling2D(
                2, "channels_last", dtype=dtype, name=name
            ),
            conv(f"{name}_conv", channels, 3, True, dtype),
        ]
