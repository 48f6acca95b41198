"""Normalization whose scale and shift follow a condition."""

import keras
from keras import ops

from keras_muse.layers.dense import dense
from keras_muse.runtime.checks import check_choice


@keras.saving.register_keras_serializable(package="keras_muse")
class ConditionalNorm(keras.layers.Layer):
    """Normalizes tokens, then scales and shifts them by a condition.

    Args:
        norm_type: string. `"rms"` or `"layer"`. Defaults to `"rms"`.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        x: float tensor of shape `(batch, num_tokens, hidden_dim)`.
        scale_and_shift: tensor of shape `(batch, 2 * hidden_dim)`, as
            `project(condition)` gives it.

    Returns:
        Float tensor of the shape of `x`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.ConditionalNorm()
    layer.build((None, None, 8))
    scale_and_shift = layer.project(np.ones((1, 8), "float32"))
    y = layer(np.ones((1, 16, 8), "float32"), scale_and_shift)
    ```

    Reference:
        - [FiLM](https://arxiv.org/abs/1709.07871)
    """

    def __init__(self, norm_type="rms", **kwargs):
        super().__init__(**kwargs)
        self.norm_type = check_choice(norm_type, "norm_type", ("rms", "layer"))

    def build(self, input_shape):
        hidden_dim = input_shape[-1]
        policy = self.dtype_policy
        if self.norm_type == "rms":
            self.norm = rms_norm("norm", policy)
        else:
            self.norm = keras.layers.LayerNormalization(
                epsilon=1e-6, center=False, dtype=policy, name="norm"
            )
        self.norm.build(input_shape)
        self.modulation = dense(
            "modulation", 2 * hidden_dim, policy, use_bias=False
        )
        self.modulation.build((None, hidden_dim))
        self.built = True

    def project(self, condition):
        """Scale and shift, to be kept while the condition does not change.

        Args:
            condition: float tensor of shape `(batch, hidden_dim)`.

        Returns:
            Float tensor of shape `(batch, 2 * hidden_dim)`.
        """
        return self.modulation(keras.activations.silu(condition))

    def call(self, x, scale_and_shift):
        return modulate(self.norm(x), scale_and_shift)

    def get_config(self):
        return {**super().get_config(), "norm_type": self.norm_type}


def modulate(x, scale_and_shift):
    """`x * (1 + scale) + shift`, the same for all tokens of a row.

    Args:
        x: tensor of shape `(batch, ..., dim)`.
        scale_and_shift: tensor of shape `(batch, 2 * dim)`.
    """
    shape = (-1, *[1] * (len(x.shape) - 2), x.shape[-1])
    scale, shift = (
        ops.reshape(part, shape)
        for part in ops.split(scale_and_shift, 2, axis=-1)
    )
    return x * (1 + scale) + shift


def rms_norm(name, dtype):
    """Root-mean-square normalization as the U-ViT uses it."""
    return keras.layers.RMSNormalization(epsilon=1e-6, dtype=dtype, name=name)
