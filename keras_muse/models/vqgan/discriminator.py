"""The critic of the VQGAN."""

import keras
from keras import ops

from keras_muse.layers.resnet_block import conv
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_ints


@keras.saving.register_keras_serializable(package="keras_muse")
class Discriminator(keras.Model):
    """Residual discriminator that judges patches of pictures of any size.

    It has no normalization over the batch: a picture's score is its own.

    Args:
        base_channels: int. Channels of the first level. Defaults to `64`.
        channel_multipliers: tuple of ints. Channels of each level in units of
            `base_channels`; every level halves the picture. Defaults to
            `(1, 2, 4, 8)`.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        inputs: float tensor of shape `(batch, height, width, 3)` in [-1, 1].

    Returns:
        float32 tensor of shape `(batch, height / f, width / f, 1)` with
        `f = 2 ** len(channel_multipliers)`; positive is "real".

    Example:
    ```python
    import numpy as np
    import keras_muse

    discriminator = keras_muse.Discriminator(8, channel_multipliers=(1, 2))
    scores = discriminator(np.zeros((2, 16, 16, 3), "float32"))
    ```

    Reference:
        - [StyleGAN2](https://arxiv.org/abs/1912.04958), whose residual
          critic MaskGIT's tokenizer was trained against
    """

    def __init__(
        self, base_channels=64, channel_multipliers=(1, 2, 4, 8), **kwargs
    ):
        super().__init__(**kwargs)
        base_channels = check_int(base_channels, "base_channels")
        self.base_channels = base_channels
        self.channel_multipliers = check_ints(
            channel_multipliers, "channel_multipliers"
        )
        widths = [base_channels * m for m in self.channel_multipliers]
        dtype = self.dtype_policy
        self.conv_in = conv("conv_in", widths[0], 3, True, dtype)
        self.convs_1, self.convs_2, self.shortcuts = [], [], []
        for level, width in enumerate(widths):
            before = widths[max(level - 1, 0)]
            self.convs_1.append(
                conv(f"level_{level}_conv_1", before, 3, True, dtype)
            )
            self.convs_2.append(
                conv(f"level_{level}_conv_2", width, 3, True, dtype)
            )
            self.shortcuts.append(
                conv(f"level_{level}_shortcut", width, 1, False, dtype)
            )
        self.halve = keras.layers.AveragePooling2D(
            2, data_format="channels_last", dtype=dtype, name="halve"
        )
        self.conv_out = conv("conv_out", 1, 3, True, "float32")
        self.build()

    def build(self, input_shape=None):
        widths = [self.base_channels * m for m in self.channel_multipliers]
        self.conv_in.build((None, None, None, 3))
        for level in range(len(widths)):
            before = (None, None, None, widths[max(level - 1, 0)])
            self.convs_1[level].build(before)
            self.convs_2[level].build(before)
            self.shortcuts[level].build(before)
        self.conv_out.build((None, None, None, widths[-1]))
        self.built = True

    def call(self, inputs):
        smallest = 2 ** len(self.channel_multipliers)
        if any(
            side is not None and side < smallest for side in inputs.shape[1:3]
        ):
            raise ValueError(
                f"Pictures must have at least {smallest} pixels a side for a "
                f"critic of {len(self.channel_multipliers)} levels: pass a "
                "smaller `discriminator`, or `adversarial_weight=0`. Received: "
                f"inputs.shape={tuple(inputs.shape)}"
            )
        x = self.conv_in(inputs)
        for conv_1, conv_2, shortcut in zip(
            self.convs_1, self.convs_2, self.shortcuts, strict=True
        ):
            y = conv_1(keras.activations.leaky_relu(x, 0.2))
            y = conv_2(keras.activations.leaky_relu(y, 0.2))
            # Halving both branches by the mean keeps the critic free of
            # aliasing; 1 / sqrt(2) keeps its variance.
            x = self.halve(y + shortcut(x)) * (2.0**-0.5)
        x = self.conv_out(keras.activations.leaky_relu(x, 0.2))
        return ops.cast(x, "float32")

    def get_config(self):
        return {
            "base_channels": self.base_channels,
            "channel_multipliers": self.channel_multipliers,
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }
