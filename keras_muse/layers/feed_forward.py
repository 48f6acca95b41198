"""The MLP of a transformer layer."""

import keras

from keras_muse.layers.dense import apply_to_rows
from keras_muse.layers.dense import dense
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_int


@keras.saving.register_keras_serializable(package="keras_muse")
class FeedForward(keras.layers.Layer):
    """Two matrices with GELU between them.

    Args:
        intermediate_dim: int. Width between the two.
        use_gated_activation: bool. Whether a third matrix gives the factors
            that GELU's output is multiplied by (GEGLU). With two thirds of
            `intermediate_dim` there are as many weights as without. Defaults
            to `False`.
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

    Reference:
        - [GLU Variants Improve Transformer](https://arxiv.org/abs/2002.05202)
    """

    def __init__(self, intermediate_dim, use_gated_activation=False, **kwargs):
        super().__init__(**kwargs)
        self.intermediate_dim = check_int(intermediate_dim, "intermediate_dim")
        self.use_gated_activation = check_bool(
            use_gated_activation, "use_gated_activation"
        )

    def build(self, input_shape):
        hidden_dim = input_shape[-1]
        dtype = self.dtype_policy
        self.intermediate_dense = dense(
            "intermediate_dense", self.intermediate_dim, dtype, "gelu"
        )
        self.intermediate_dense.build(input_shape)
        if self.use_gated_activation:
            self.gate_dense = dense("gate_dense", self.intermediate_dim, dtype)
            self.gate_dense.build(input_shape)
        self.output_dense = dense("output_dense", hidden_dim, dtype)
        self.output_dense.build((*input_shape[:-1], self.intermediate_dim))
        self.built = True

    def call(self, x):
        return apply_to_rows(self._transform, x)

    def _transform(self, x):
        hidden = self.intermediate_dense(x)
        if self.use_gated_activation:
            hidden = hidden * self.gate_dense(x)
        return self.output_dense(hidden)

    def get_config(self):
        return {
            **super().get_config(),
            "intermediate_dim": self.intermediate_dim,
            "use_gated_activation": self.use_gated_activation,
        }
