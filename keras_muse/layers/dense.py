"""The linear map of the transformers."""

import keras
from keras import ops

from keras_muse.layers import initializers


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
        # The usual deviation of 0.02 at a width of 800, more at smaller ones:
        # narrow transformers begin to read the text sooner.
        kernel_initializer=initializers.VarianceScaling(
            scale=1 / 3, mode="fan_in", distribution="truncated_normal"
        ),
        dtype=dtype,
        name=name,
    )


def apply_to_rows(layer, x):
    """Applies a layer to each token.

    The same as `layer(x)`. But the gradient of a product over two axes of
    rows takes XLA twice as long on a processor as over one.

    Args:
        layer: a layer that acts on the last axis.
        x: tensor of shape `(batch, num_tokens, dim)`.

    Returns:
        Tensor of shape `(batch, num_tokens, output_dim)`.
    """
    y = layer(ops.reshape(x, (-1, x.shape[-1])))
    return ops.reshape(y, (-1, ops.shape(x)[1], y.shape[-1]))
