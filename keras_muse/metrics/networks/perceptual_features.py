"""Features of the networks of the perceptual distance."""

import keras
from keras import ops

from keras_muse.losses.perceptual_network import PerceptualNetwork


@keras.saving.register_keras_serializable(package="keras_muse")
class PerceptualFeatures(keras.layers.Layer):
    """The last map of LPIPS's network, averaged over its positions.

    `"alexnet"` needs no download and is quick; of `"vgg16"` it is the layer
    known as `relu5_3`. Pictures are taken in their own size, but for those
    with a side below 64, which are enlarged to that bilinearly.

    Args:
        network: string. `"alexnet"` with 256 features, or `"vgg16"` with 512.
            Defaults to `"alexnet"`.
        weights: string or path. A `.safetensors` file with the convolutions
            of the network under torchvision's names (`features.0.weight`).
            `None` takes the bundled AlexNet, and for VGG16 downloads
            torchvision's weights (550 MB) once into Keras's cache. Defaults
            to `None`.
        dtype: string or `keras.DTypePolicy`. The convolutions compute in it.
            Defaults to `"float32"`, whatever the global policy.
        **kwargs: other arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        images: float tensor of shape `(batch, height, width, 3)` with values
            in `[-1, 1]`.

    Returns:
        A float32 tensor of shape `(batch, feature_dim)`.

    Raises:
        ValueError: if `network` is unknown, a tensor in `weights` is missing,
            of another shape or has no place, or the images are not floats of
            shape `(batch, height, width, 3)`.

    Example:

    ```python
    import numpy as np

    from keras_muse.metrics.networks import PerceptualFeatures

    network = PerceptualFeatures("alexnet")
    images = np.random.uniform(-1, 1, (2, 64, 48, 3)).astype("float32")
    network(images).shape  # (2, 256)
    ```

    Reference:
        - [Zhang et al., 2018](https://arxiv.org/abs/1801.03924)
    """

    def __init__(
        self, network="alexnet", weights=None, dtype="float32", **kwargs
    ):
        super().__init__(dtype=dtype, trainable=False, **kwargs)
        self.network = network
        self._network = PerceptualNetwork(
            network, weights, dtype=self.dtype_policy
        )
        self.built = True

    @property
    def feature_dim(self):
        """Length of the vector of a picture."""
        return self._network.channels[-1]

    def call(self, images):
        features = ops.cast(self._network(images)[-1], "float32")
        return ops.mean(features, axis=(1, 2))  # (batch, feature_dim)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.feature_dim)

    def get_config(self):
        config = super().get_config()
        del config["trainable"]
        return {
            **config,
            "network": self.network,
            "weights": self._network.get_config()["weights"],
        }
