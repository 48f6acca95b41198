"""The perceptual distance: LPIPS on AlexNet or VGG16."""

import keras
import numpy as np
from keras import ops

from keras_muse.files.bundled import ASSETS
from keras_muse.files.weight_files import SafetensorsFile
from keras_muse.losses.perceptual_network import PerceptualNetwork
from keras_muse.ops.images import check_range


@keras.saving.register_keras_serializable(package="keras_muse")
class LPIPS(keras.layers.Layer):
    """Learned perceptual distance between two batches of images.

    Both images pass a frozen classification network; the squared differences
    of its unit-length features at five depths are weighted by learned heads,
    averaged over the picture and summed. Zero for equal images, about 0.1 for
    a mild blur, 0.5 and more for unrelated pictures. Differentiable in both
    images. All weights are frozen for good, whatever becomes of `trainable`.

    LPIPS was fitted to patches of 64 pixels. Smaller images are enlarged to
    that, so that AlexNet's last features of a 32 pixel image are more than
    one.

    Args:
        network: string. `"alexnet"`, which comes with the package, or
            `"vgg16"`, which is deeper and many times slower. Defaults to
            `"alexnet"`.
        weights: string or path. A `.safetensors` file with the convolutions
            of the network under torchvision's names (`features.0.weight`).
            `None` takes the bundled AlexNet, and for VGG16 downloads
            torchvision's weights (550 MB) once into Keras's cache. Defaults
            to `None`.
        min_size: integer, at least 32. Images whose shorter side is less are
            enlarged bilinearly. With 32 no image of 32 pixels or more is
            touched, as in other implementations. Defaults to `64`.
        dtype: string or `keras.DTypePolicy`. The convolutions compute in it;
            features are always compared in float32. Defaults to `"float32"`,
            whatever the global policy.
        **kwargs: other arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        images: float tensor of shape `(batch, height, width, 3)` with values
            in `[-1, 1]`.
        reconstructions: a tensor of the same shape and range.

    Returns:
        A float32 tensor of shape `(batch,)`, never negative.

    Raises:
        ValueError: if `network` is unknown, `min_size` is below 32, the file
            in `weights` does not hold the network, or the images are not
            floats of shape `(batch, height, width, 3)`, or arrays of another
            range.

    Example:

    ```python
    import numpy as np

    import keras_muse

    lpips = keras_muse.losses.LPIPS("alexnet")
    images = np.random.uniform(-1, 1, (2, 64, 64, 3)).astype("float32")
    lpips(images, images)  # [0., 0.]
    lpips(images, images[::-1])
    ```

    Reference:
        - [Zhang et al., 2018](https://arxiv.org/abs/1801.03924)
    """

    def __init__(
        self,
        network="alexnet",
        weights=None,
        min_size=64,
        dtype="float32",
        **kwargs,
    ):
        super().__init__(dtype=dtype, **kwargs)
        self.perceptual_network = PerceptualNetwork(
            network,
            weights,
            min_size,
            dtype=self.dtype_policy,
            name="perceptual_network",
        )
        self.network = self.perceptual_network.network
        self.min_size = self.perceptual_network.min_size
        heads = ASSETS / f"lpips/{network}_heads.safetensors"
        with SafetensorsFile(heads) as file:
            self._heads = [
                self._add_head(f"head_{i}", file.read(f"heads.{i}"))
                for i in range(len(self.perceptual_network.channels))
            ]
        self.built = True

    def _add_head(self, name, array):
        return self.add_weight(
            name=name,
            shape=array.shape,
            initializer=lambda shape, dtype: ops.cast(array, dtype),
            trainable=False,
        )

    def __call__(self, images, reconstructions, **kwargs):
        # Here alone: what is inside of a compiled step has no values yet.
        for name, values in (
            ("images", images),
            ("reconstructions", reconstructions),
        ):
            if isinstance(values, np.ndarray):
                check_range(values, name)
        return super().__call__(images, reconstructions, **kwargs)

    def call(self, images, reconstructions):
        if tuple(images.shape) != tuple(reconstructions.shape):
            raise ValueError(
                "`images` and `reconstructions` must be of the same shape. "
                f"Received: {tuple(images.shape)} and "
                f"{tuple(reconstructions.shape)}"
            )
        distance = 0.0
        # Two passes and not one of both batches: the gradient of the loss
        # then runs back through the reconstructions alone.
        for head, first, second in zip(
            self._heads,
            self.perceptual_network(images),
            self.perceptual_network(reconstructions),
            strict=True,
        ):
            # (batch, map_height, map_width, channels)
            difference = ops.square(_unit_length(first) - _unit_length(second))
            weighted = ops.sum(difference * ops.cast(head, "float32"), axis=-1)
            distance = distance + ops.mean(weighted, axis=(1, 2))
        return distance  # (batch,)

    def compute_output_shape(self, images_shape, reconstructions_shape):
        return (images_shape[0],)

    def get_config(self):
        return {
            **super().get_config(),
            "network": self.network,
            "weights": self.perceptual_network.get_config()["weights"],
            "min_size": self.min_size,
        }


def _unit_length(features):
    features = ops.cast(features, "float32")
    squares = ops.sum(ops.square(features), axis=-1, keepdims=True)
    # Inside the root: the gradient stays finite where nothing fires.
    return features / ops.sqrt(squares + 1e-10)
