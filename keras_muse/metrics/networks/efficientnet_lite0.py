"""EfficientNet-Lite0, a small ImageNet classifier that is bundled."""

import keras
from keras import layers
from keras import ops

from keras_muse.files.bundled import ASSETS
from keras_muse.metrics.networks.feature_network import FeatureNetwork
from keras_muse.metrics.networks.feature_network import layer_name

_WEIGHTS = ASSETS / "efficientnet_lite0/weights.safetensors"
_IMAGE_SIZE = 224
_NUM_CLASSES = 1000
_STEM_FILTERS, _HEAD_FILTERS = 32, 1280

# `(num_blocks, kernel_size, strides, expansion, filters)` of seven stages;
# only the first block of a stage strides.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@keras.saving.register_keras_serializable(package="keras_muse")
class EfficientNetLite0(FeatureNetwork):
    """Features or ImageNet logits of EfficientNet-Lite0.

    4.7 million parameters, which come with the package: semantic features
    without a download. Pictures of any size are resized to 224 by 224, whatever
    their aspect: bilinearly with half-pixel centres, and with antialiasing
    where that shrinks them. Pixels enter as `(pixel - 127) / 128` of [0, 255].

    Args:
        weights: string or path. A `.safetensors` or PyTorch file with the
            tensors under their published names (`_conv_stem.weight`). `None`
            takes the bundled ones. Defaults to `None`.
        output: string. `"features"`, the last map averaged over its
            positions, of 1280 numbers; or `"logits"` of the 1000 classes.
            Defaults to `"features"`.
        dtype: string or `keras.DTypePolicy`. The convolutions compute in it.
            Defaults to `"float32"`, whatever the global policy.
        **kwargs: other arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        images: float tensor of shape `(batch, height, width, 3)` with values
            in `[-1, 1]`.

    Returns:
        A float32 tensor of shape `(batch, feature_dim)`.

    Raises:
        ValueError: if `output` is unknown, a tensor in `weights` is missing,
            of another shape or has no place, or the images are not floats of
            shape `(batch, height, width, 3)`.

    Example:

    ```python
    import numpy as np

    from keras_muse.metrics.networks import EfficientNetLite0

    network = EfficientNetLite0()
    images = np.random.uniform(-1, 1, (2, 64, 48, 3)).astype("float32")
    network(images).shape  # (2, 1280)
    ```

    Reference:
        - [Tan and Le, 2019](https://arxiv.org/abs/1905.11946)
        - [EfficientNet-Lite](https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite)
    """

    def __init__(
        self, weights=None, output="features", dtype="float32", **kwargs
    ):
        super().__init__(weights, output, dtype, **kwargs)

    def _default_weights(self):
        return _WEIGHTS

    def _prepare(self, images):
        images = ops.image.resize(
            images,
            (_IMAGE_SIZE, _IMAGE_SIZE),
            "bilinear",
            antialias=True,
            data_format="channels_last",
        )
        return ((images + 1.0) * 127.5 - 127.0) / 128.0

    def _build_network(self):
        inputs = keras.Input((_IMAGE_SIZE, _IMAGE_SIZE, 3))
        x = self._convolve(inputs, "_conv_stem", "_bn0", _STEM_FILTERS, 3, 2)
        x = ops.relu6(x)
        index = 0
        for num_blocks, kernel_size, strides, expansion, filters in _STAGES:
            for i in range(num_blocks):
                x = self._block(
                    x,
                    f"_blocks.{index}",
                    kernel_size,
                    strides if i == 0 else 1,
                    expansion,
                    filters,
                )
                index += 1
        x = self._convolve(x, "_conv_head", "_bn1", _HEAD_FILTERS)
        x = ops.relu6(x)
        x = ops.mean(x, axis=(1, 2))
        logits = layers.Dense(_NUM_CLASSES, dtype=self.dtype_policy, name="_fc")
        return keras.Model(inputs, logits(x))

    def _block(self, inputs, name, kernel_size, strides, expansion, filters):
        """An inverted bottleneck: widen, filter each channel, narrow."""
        x = inputs
        channels = inputs.shape[-1]
        if expansion != 1:
            x = self._convolve(
                x, f"{name}._expand_conv", f"{name}._bn0", channels * expansion
            )
            x = ops.relu6(x)
        x = _depthwise_class()(
            kernel_size,
            strides,
            padding="same",
            use_bias=False,
            depthwise_initializer="zeros",  # all weights are loaded
            data_format="channels_last",
            dtype=self.dtype_policy,
            name=layer_name(f"{name}._depthwise_conv"),
        )(x)
        x = self._normalize(x, f"{name}._bn1")
        x = ops.relu6(x)
        x = self._convolve(x, f"{name}._project_conv", f"{name}._bn2", filters)
        if strides == 1 and channels == filters:
            x = x + inputs
        return x

    def _convolve(self, x, name, norm_name, filters, kernel_size=1, strides=1):
        x = layers.Conv2D(
            filters,
            kernel_size,
            strides,
            padding="same",
            use_bias=False,
            kernel_initializer="zeros",  # all weights are loaded
            data_format="channels_last",
            dtype=self.dtype_policy,
            name=layer_name(name),
        )(x)
        return self._normalize(x, norm_name)

    def _normalize(self, x, name):
        return layers.BatchNormalization(
            epsilon=1e-3, dtype=self.dtype_policy, name=layer_name(name)
        )(x)


def _depthwise_class():
    # On a processor XLA's own takes nine times as long as the sum of shifted
    # maps, PyTorch's three times; TensorFlow's takes half as long.
    if keras.config.backend() == "tensorflow":
        return layers.DepthwiseConv2D
    return ShiftedDepthwiseConv2D


class ShiftedDepthwiseConv2D(layers.DepthwiseConv2D):
    """A depthwise convolution as a sum of shifted maps."""

    def call(self, inputs):
        kernel = ops.convert_to_tensor(self.kernel)  # (size, size, channels, 1)
        size, stride = self.kernel_size[0], self.strides[0]
        output_size = -(-inputs.shape[1] // stride)
        missing = max((output_size - 1) * stride + size - inputs.shape[1], 0)
        padding = (missing // 2, missing - missing // 2)
        padded = ops.pad(inputs, ((0, 0), padding, padding, (0, 0)))
        last = (output_size - 1) * stride + 1
        total = 0.0
        for i in range(size):
            for j in range(size):
                shifted = padded[
                    :, i : i + last : stride, j : j + last : stride
                ]
                total = total + shifted * kernel[i, j, :, 0]
        return total
