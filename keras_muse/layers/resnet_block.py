"""The residual block of the VQGAN."""

import keras

from keras_muse.layers import initializers
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_int


@keras.saving.register_keras_serializable(package="keras_muse")
class ResnetBlock(keras.layers.Layer):
    """Norm, swish, 3 x 3 convolution, twice, around a residual.

    Args:
        channels: int. Output channels; where they differ from the input's, a
            1 x 1 convolution brings the residual to them.
        num_groups: int. Groups of the normalization.
        use_bias: bool. Whether the convolutions have a bias.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        x: float tensor of shape `(batch, height, width, input_channels)`.

    Returns:
        Float tensor of shape `(batch, height, width, channels)`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.ResnetBlock(16, num_groups=4, use_bias=True)
    y = layer(np.zeros((1, 8, 8, 8), "float32"))
    ```

    Reference:
        - [MaskGIT](https://arxiv.org/abs/2202.04200)
    """

    def __init__(self, channels, num_groups, use_bias, **kwargs):
        super().__init__(**kwargs)
        self.channels = check_int(channels, "channels")
        self.num_groups = check_int(num_groups, "num_groups")
        self.use_bias = check_bool(use_bias, "use_bias")

    def build(self, input_shape):
        input_channels = input_shape[-1]
        hidden_shape = (None, None, None, self.channels)
        dtype = self.dtype_policy
        self.norm_1 = group_norm("norm_1", self.num_groups, dtype)
        self.norm_1.build(input_shape)
        self.conv_1 = conv("conv_1", self.channels, 3, self.use_bias, dtype)
        self.conv_1.build(input_shape)
        self.norm_2 = group_norm("norm_2", self.num_groups, dtype)
        self.norm_2.build(hidden_shape)
        self.conv_2 = conv("conv_2", self.channels, 3, self.use_bias, dtype)
        self.conv_2.build(hidden_shape)
        self.shortcut = None
        if input_channels != self.channels:
            self.shortcut = conv(
                "shortcut", self.channels, 1, self.use_bias, dtype
            )
            self.shortcut.build(input_shape)
        self.built = True

    def call(self, x):
        y = self.conv_1(keras.activations.silu(self.norm_1(x)))
        y = self.conv_2(keras.activations.silu(self.norm_2(y)))
        return y + (x if self.shortcut is None else self.shortcut(x))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "num_groups": self.num_groups,
            "use_bias": self.use_bias,
        }


def conv(name, channels, kernel_size, use_bias, dtype, strides=1):
    """A same-padded 2-D convolution."""
    return keras.layers.Conv2D(
        channels,
        kernel_size,
        strides=strides,
        padding="same",
        data_format="channels_last",  # whatever Keras is set to
        use_bias=use_bias,
        kernel_initializer=initializers.VarianceScaling(
            scale=1.0, mode="fan_in", distribution="truncated_normal"
        ),
        dtype=dtype,
        name=name,
    )


def group_norm(name, num_groups, dtype):
    """Group normalization with the epsilon of the VQGAN's published code."""
    return keras.layers.GroupNormalization(
        num_groups, epsilon=1e-6, dtype=dtype, name=name
    )
