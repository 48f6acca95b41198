"""The MLP of a transformer layer."""

import keras


@keras.saving.register_keras_serializable(package="keras_muse")
class FeedForward(keras.layers.Layer):
    """Two matrices with GELU between them.

    Args:
        intermediate_dim: int. Width between the two.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        x: float tensor of shape `(batch, num_tokens, hidden_dim)`.

    Returns:
        Float tensor of the shape of `x`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.FeedForward(intermediate_dim=32)
    y = layer(np.zeros((1, 16, 8), "float32"))
    ```
    """

    def __init__(self, intermediate_dim, **kwargs):
        super().__init__(**kwargs)
        self.intermediate_dim = intermediate_dim

    def build(self, input_shape):
        hidden_dim = input_shape[-1]
        self.intermediate_dense = self._dense(
            "intermediate_dense", hidden_dim, self.intermediate_dim, "gelu"
        )
        self.output_dense = self._dense(
            "output_dense", self.intermediate_dim, hidden_dim
        )
        self.built = True

    def _dense(self, name, input_dim, output_dim, activation=None):
        layer = keras.layers.Dense(
            output_dim,
            activation=activation,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=self.dtype_policy,
            name=name,
        )
        layer.build((None, None, input_dim))
        return layer

    def call(self, x):
        return self.output_dense(self.intermediate_dense(x))

    def get_config(self):
        return {
            **super().get_config(),
            "intermediate_dim": self.intermediate_dim,
        }
