"""Attention between all positions of a feature map."""

import keras
from keras import ops

from keras_muse.layers.resnet_block import group_norm
from keras_muse.ops import attention
from keras_muse.runtime.checks import check_int


@keras.saving.register_keras_serializable(package="keras_muse")
class SpatialAttention(keras.layers.Layer):
    """Norm and attention with one head over all positions, with a residual.

    Published VQGANs have it at their lowest resolution. Its cost grows with
    the fourth power of the picture's side.

    Args:
        num_groups: int. Groups of the normalization.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        x: float tensor of shape `(batch, height, width, channels)`.

    Returns:
        Float tensor of the shape of `x`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.SpatialAttention(num_groups=4)
    y = layer(np.zeros((1, 4, 4, 8), "float32"))
    ```

    Reference:
        - [VQGAN](https://arxiv.org/abs/2012.09841)
    """

    def __init__(self, num_groups, **kwargs):
        super().__init__(**kwargs)
        self.num_groups = check_int(num_groups, "num_groups")

    def build(self, input_shape):
        channels = input_shape[-1]
        self.norm = group_norm("norm", self.num_groups, self.dtype_policy)
        self.norm.build(input_shape)
        self.query = self._projection("query", channels)
        self.key = self._projection("key", channels)
        self.value = self._projection("value", channels)
        self.attention_output = self._projection("attention_output", channels)
        self.built = True

    def _projection(self, name, channels):
        layer = keras.layers.Dense(channels, dtype=self.dtype_policy, name=name)
        layer.build((None, None, 1, channels))
        return layer

    def call(self, x):
        batch, height, width, channels = ops.shape(x)
        # (batch, num_positions, 1 head, channels)
        y = ops.reshape(self.norm(x), (batch, height * width, 1, channels))
        y = attention.attend(self.query(y), self.key(y), self.value(y))
        return x + ops.reshape(self.attention_output(y), ops.shape(x))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "num_groups": self.num_groups}
