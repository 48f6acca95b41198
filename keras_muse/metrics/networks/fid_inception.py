"""The Inception network of the Fréchet Inception distance."""

import re

import keras
from keras import layers
from keras import ops

from keras_muse.metrics.networks.feature_network import FeatureNetwork
from keras_muse.metrics.networks.feature_network import layer_name

_URL = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth"
)
_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
_IMAGE_SIZE = 299
_NUM_CLASSES = 1008

# Published names of the convolutions in the order in which Keras makes them.
_STEM = (
    "Conv2d_1a_3x3",
    "Conv2d_2a_3x3",
    "Conv2d_2b_3x3",
    "Conv2d_3b_1x1",
    "Conv2d_4a_3x3",
)
_BRANCHES = {
    "5": "1x1 5x5_1 5x5_2 3x3dbl_1 3x3dbl_2 3x3dbl_3 _pool",
    "6a": "3x3 3x3dbl_1 3x3dbl_2 3x3dbl_3",
    "6": "1x1 7x7_1 7x7_2 7x7_3 "
    "7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5 _pool",
    "7a": "3x3_1 3x3_2 7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4",
    "7": "1x1 3x3_1 3x3_2a 3x3_2b 3x3dbl_1 3x3dbl_2 3x3dbl_3a 3x3dbl_3b _pool",
}
_BLOCKS = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")


@keras.saving.register_keras_serializable(package="keras_muse")
class FIDInception(FeatureNetwork):
    """Features or logits of the Inception v3 that FID is defined on.

    It is the TensorFlow graph of 2015-12-05, which differs from other
    Inceptions in its weights, in 1008 classes and in a maximum in the place
    of the last block's average. Distances are comparable with those of others
    only with this network and this treatment of pictures: they become 8-bit
    pixels, are resized to 299 by 299 as TensorFlow 1 did it, bilinearly
    without half-pixel centres or antialiasing, and enter as
    `(pixel - 128) / 128`.

    Args:
        weights: string or path. A PyTorch or `.safetensors` file with the
            tensors under their published names (`Conv2d_1a_3x3.conv.weight`).
            `None` downloads `pt_inception-2015-12-05-6726825d.pth` (96 MB)
            once into Keras's cache; PyTorch must be installed to read it.
            Defaults to `None`.
        output: string. `"features"`, the 2048 numbers of the last average
            pooling, for FID and KID; or `"logits"` of 1008 classes without
            their bias, for the Inception score. Defaults to `"features"`.
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
    from keras_muse.metrics.networks import FIDInception


    def features_of(images):
        network = FIDInception()  # downloads 96 MB the first time
        return network(images)  # (batch, 2048)
    ```

    Reference:
        - [Szegedy et al., 2015](https://arxiv.org/abs/1512.00567)
        - [Heusel et al., 2017](https://arxiv.org/abs/1706.08500)
        - [pytorch-fid](https://github.com/mseitzer/pytorch-fid)
    """

    # The bias of the classes: the Inception score is defined without it.
    _ignored = (r"fc\.bias",)

    def __init__(
        self, weights=None, output="features", dtype="float32", **kwargs
    ):
        super().__init__(weights, output, dtype, **kwargs)

    def _default_weights(self):
        return keras.utils.get_file(
            origin=_URL, file_hash=_SHA256, cache_subdir="models"
        )

    def _prepare(self, images):
        pixels = ops.clip(ops.round((images + 1.0) * 127.5), 0.0, 255.0)
        for axis in (2, 1):
            pixels = _resize_axis(pixels, axis, _IMAGE_SIZE)
        return (pixels - 128.0) / 128.0

    def _build_network(self):
        inception = keras.applications.InceptionV3(
            weights=None,
            input_shape=(_IMAGE_SIZE, _IMAGE_SIZE, 3),
            classes=_NUM_CLASSES,
            classifier_activation=None,
        )
        convolutions, norms, poolings = (
            _in_order_of_creation(inception, layer_class)
            for layer_class in (
                layers.Conv2D,
                layers.BatchNormalization,
                layers.AveragePooling2D,
            )
        )
        changes = {}
        for convolution, norm, name in zip(
            convolutions, norms, _convolution_names(), strict=True
        ):
            changes[convolution] = {
                "name": layer_name(f"{name}.conv"),
                "kernel_initializer": "zeros",  # all weights are loaded
            }
            changes[norm] = {"name": layer_name(f"{name}.bn"), "scale": True}
        changes[inception.layers[-1]] = {"name": "fc", "use_bias": False}

        def clone(layer):
            config = {**layer.get_config(), **changes.get(layer, {})}
            config["dtype"] = self.dtype_policy
            if layer is poolings[-1]:
                return layers.MaxPooling2D.from_config(config)
            return layer.__class__.from_config(config)

        return keras.models.clone_model(inception, clone_function=clone)


def _convolution_names():
    names = list(_STEM)
    for block in _BLOCKS:
        branches = _BRANCHES.get(block) or _BRANCHES[block[0]]
        names += [f"Mixed_{block}.branch{b}" for b in branches.split()]
    return names


def _in_order_of_creation(model, layer_class):
    """Layers of a class by their number: `conv2d`, `conv2d_1`, `conv2d_2`."""

    def number(layer):
        match = re.search(r"_(\d+)$", layer.name)
        return int(match[1]) if match else 0

    found = [layer for layer in model.layers if type(layer) is layer_class]
    return sorted(found, key=number)


def _resize_axis(pixels, axis, size):
    """Resizes one axis bilinearly as TensorFlow 1 did it.

    Pixel i of the result is at `i * old_size / size` of the old one, so that
    the first pixels of both coincide.
    """
    old_size = ops.shape(pixels)[axis]
    scale = ops.cast(old_size, "float32") / size
    position = ops.arange(size, dtype="float32") * scale
    before = ops.cast(ops.floor(position), "int32")
    after = ops.minimum(before + 1, old_size - 1)
    shape = [1] * 4
    shape[axis] = size
    fraction = ops.reshape(position - ops.floor(position), shape)
    first = ops.take(pixels, before, axis=axis)
    second = ops.take(pixels, after, axis=axis)
    return first + (second - first) * fraction
