"""The frozen AlexNet or VGG16 by whose features pictures are compared."""

import itertools

import keras
from keras import ops

from keras_muse.files.bundled import ASSETS
from keras_muse.files.tensors import load_layers
from keras_muse.files.weight_files import SafetensorsFile
from keras_muse.ops.images import check_in_model_range
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_int

# Keras's own VGG16 comes from Caffe and has other filters than the ones the
# heads of LPIPS were fitted to; these are torchvision's.
_VGG16_URL = (
    "https://huggingface.co/timm/vgg16.tv_in1k/resolve/"
    "3394518cba29aee1ea82a49d971be90d2dd1dab7/model.safetensors"
)

# Five stages, each with its convolutions as `(filters, kernel_size, strides)`.
# Features are taken at the end of every stage.
_POOL = "pool"
_STAGES = {
    "alexnet": (
        [(64, 11, 4)],
        [_POOL, (192, 5, 1)],
        [_POOL, (384, 3, 1)],
        [(256, 3, 1)],
        [(256, 3, 1)],
    ),
    "vgg16": (
        [(64, 3, 1)] * 2,
        [_POOL] + [(128, 3, 1)] * 2,
        [_POOL] + [(256, 3, 1)] * 3,
        [_POOL] + [(512, 3, 1)] * 3,
        [_POOL] + [(512, 3, 1)] * 3,
    ),
}
_POOL_SIZE = {"alexnet": 3, "vgg16": 2}

# ImageNet's mean and deviation, for pixels in [-1, 1].
_PIXEL_MEAN = (-0.030, -0.088, -0.188)
_PIXEL_DEVIATION = (0.458, 0.448, 0.450)

# Below 31 pixels AlexNet's second pooling has nothing left to pool.
_SMALLEST_SIZE = 32


@keras.saving.register_keras_serializable(package="keras_muse")
class PerceptualNetwork(keras.layers.Layer):
    """The convolutions of an ImageNet AlexNet or VGG16, at five depths.

    All weights are frozen for good, whatever becomes of `trainable`; the
    network is differentiable in its images.

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
            enlarged bilinearly. Defaults to `64`.
        dtype: string or `keras.DTypePolicy`. The convolutions compute in it.
            Defaults to `"float32"`, whatever the global policy.
        **kwargs: other arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        images: float tensor of shape `(batch, height, width, 3)` with values
            in `[-1, 1]`.

    Returns:
        A list of five tensors of shape `(batch, map_height, map_width,
        channels)`, the finest first, after their ReLU.

    Raises:
        ValueError: if `network` is unknown, `min_size` is below 32, the file
            in `weights` does not hold the network, or the images are not
            floats of shape `(batch, height, width, 3)`.

    Example:

    ```python
    import numpy as np

    from keras_muse.losses.perceptual_network import PerceptualNetwork

    network = PerceptualNetwork("alexnet")
    images = np.random.uniform(-1, 1, (2, 64, 64, 3)).astype("float32")
    [features.shape[-1] for features in network(images)]
    # [64, 192, 384, 256, 256]
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
        self.network = check_choice(network, "network", sorted(_STAGES))
        self.min_size = check_int(min_size, "min_size", low=_SMALLEST_SIZE)
        # `weights` is a property of every layer.
        self._weights_path = None if weights is None else str(weights)
        path = self._weights_path or _default_weights(network)
        self._convolutions = []
        channels = 3
        for step in itertools.chain(*_STAGES[network]):
            if step != _POOL:
                filters, size, _ = step
                self._convolutions.append(
                    self._add_convolution((size, size, channels, filters))
                )
                channels = filters
        with SafetensorsFile(path) as files:
            # Published files bring the classifier, too.
            layers = _layers(network, self._convolutions)
            load_layers(files, layers, ignored=[r"(?!features\.).*"])
        self.built = True

    def _add_convolution(self, shape):
        """Frozen kernel and bias, to be filled."""
        name = f"convolution_{len(self._convolutions)}"
        return [
            self.add_weight(
                shape=shape, initializer="zeros", trainable=False, name=name
            )
            for name, shape in (
                (f"{name}_kernel", shape),
                (f"{name}_bias", shape[-1:]),
            )
        ]

    @property
    def channels(self):
        """Numbers of channels of the five maps."""
        return [stage[-1][0] for stage in _STAGES[self.network]]

    def call(self, images):
        check_in_model_range(images)
        x = ops.cast(self._enlarged(images), "float32")
        x = (x - _constant(_PIXEL_MEAN)) / _constant(_PIXEL_DEVIATION)
        x = ops.cast(x, self.compute_dtype)
        convolutions = iter(self._convolutions)
        features = []
        for stage in _STAGES[self.network]:
            for step in stage:
                if step == _POOL:
                    x = ops.max_pool(
                        x, _POOL_SIZE[self.network], 2, "valid", "channels_last"
                    )
                else:
                    kernel, bias = next(convolutions)
                    x = ops.relu(_convolve(x, kernel, step[-1]) + bias)
            features.append(x)
        return features

    def _enlarged(self, images):
        height, width = images.shape[1:3]
        if None in (height, width) or min(height, width) >= self.min_size:
            return images
        scale = self.min_size / min(height, width)
        size = (round(height * scale), round(width * scale))
        return ops.image.resize(
            images, size, "bilinear", data_format="channels_last"
        )

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "network": self.network,
                "weights": self._weights_path,
                "min_size": self.min_size,
            }
        )
        return config


def _default_weights(network):
    if network == "alexnet":
        return ASSETS / "lpips/alexnet.safetensors"
    return keras.utils.get_file(
        "vgg16_torchvision.safetensors", _VGG16_URL, cache_subdir="models"
    )


def _layers(network, convolutions):
    """What each published tensor fills, for `load_layers`."""
    layers, index = {}, 0
    convolutions = iter(convolutions)
    for step in itertools.chain(*_STAGES[network]):
        if step == _POOL:
            index += 1
            continue
        kernel, bias = next(convolutions)
        layers[f"features.{index}.weight"] = kernel, _channels_last
        layers[f"features.{index}.bias"] = bias
        index += 2  # the convolution and its ReLU
    return layers


def _channels_last(kernel):
    return kernel.transpose(2, 3, 1, 0)


def _convolve(x, kernel, strides):
    # AlexNet's first convolution is padded by 2, the others keep the size.
    padding = 2 if strides > 1 else kernel.shape[0] // 2
    x = ops.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    return ops.conv(
        x, kernel, strides, padding="valid", data_format="channels_last"
    )


def _constant(values):
    return ops.convert_to_tensor(values, "float32")
