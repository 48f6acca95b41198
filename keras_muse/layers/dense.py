"""The linear map of the transformers."""

import keras


def dense(name, output_dim, dtype, activation=None, use_bias=True):
    """A `Dense` layer with the transformers' initialization.

    Args:
        name: string. LoRA and quantization find layers by it.
        output_dim: int. Width of the output.
        dtype: string or `keras.DTypePolicy`.
        activation: string or `None`.
        use_bias: bool.

    Returns:
        A `keras.layers.Dense`.
    """
    return keras.layers.Dense(
        output_dim,
        activation=activation,
        use_bias=use_bias,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        dtype=dtype,
        name=name,
    )
