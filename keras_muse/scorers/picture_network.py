"""A small convolutional network that is trained with a scorer."""

import keras
from keras import layers
from keras import ops

from keras_muse.ops.images import check_in_model_range

IMAGE_SIZE = 64
# Width and strides of the convolutions; the first is of 5 x 5 pixels.
_CONVOLUTIONS = ((24, 2), (48, 2), (96, 2), (96, 1), (192, 2))


@keras.saving.register_keras_serializable(package="keras_muse")
class PictureNetwork(layers.Layer):
    """Features of pictures from a network that no other trained.

    Five convolutions at 64 by 64 pixels, 0.3 million weights. Pictures of any
    size are brought to that, bilinearly and with antialiasing.

    Args:
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        images: float tensor of shape `(batch, height, width, 3)` with values
            in `[-1, 1]`.

    Returns:
        A float32 tensor of shape `(batch, 192)`.

    Example:
    ```python
    import numpy as np
    from keras_muse.scorers.picture_network import PictureNetwork

    images = np.random.uniform(-1, 1, (2, 64, 48, 3)).astype("float32")
    PictureNetwork()(images).shape  # (2, 192)
    ```
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.convolutions = [
            layers.Conv2D(
                width,
                kernel_size=3 if i else 5,
                strides=strides,
                padding="same",
                use_bias=False,
                data_format="channels_last",
                name=f"convolution_{i}",
            )
            for i, (width, strides) in enumerate(_CONVOLUTIONS)
        ]
        self.norms = [
            layers.GroupNormalization(8, name=f"norm_{i}")
            for i in range(len(_CONVOLUTIONS))
        ]

    @property
    def feature_dim(self):
        """Length of the vector of a picture."""
        return _CONVOLUTIONS[-1][0]

    def build(self, input_shape):
        shape = (None, IMAGE_SIZE, IMAGE_SIZE, 3)
        for convolution, norm in zip(
            self.convolutions, self.norms, strict=True
        ):
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            norm.build(shape)

    def call(self, images):
        check_in_model_range(images)
        x = ops.cast(images, "float32")
        if tuple(x.shape[1:3]) != (IMAGE_SIZE, IMAGE_SIZE):
            x = ops.image.resize(
                x,
                (IMAGE_SIZE, IMAGE_SIZE),
                "bilinear",
                antialias=True,
                data_format="channels_last",
            )
        for convolution, norm in zip(
            self.convolutions, self.norms, strict=True
        ):
            y = ops.gelu(norm(convolution(x)))
            x = x + y if x.shape == y.shape else y
        return ops.cast(ops.mean(x, axis=(1, 2)), "float32")

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.feature_dim)
