"""What the frozen networks with published weights have in common."""

import os

import keras
from keras import ops

from keras_muse.files.tensors import load_layers
from keras_muse.files.torch_files import TorchFiles
from keras_muse.files.weight_files import SafetensorsFile
from keras_muse.ops.images import check_in_model_range

# How many batches PyTorch's batch normalization has seen; no weight.
_IGNORED = (r".*num_batches_tracked",)


class FeatureNetwork(keras.layers.Layer):
    """A frozen classifier from pictures to features or logits.

    Subclasses define `_build_network`, a functional model whose last layer
    gives the logits from the features, with layers named by `layer_name`;
    `_prepare`, from pictures in [-1, 1] to the model's inputs; and
    `_default_weights`, the path of a file.

    Args:
        weights: string, path or `None`. A file with the published tensors.
        output: string. `"features"` or `"logits"`.
        dtype: string or `keras.DTypePolicy`.
        **kwargs: other arguments of `keras.layers.Layer`.
    """

    _ignored = ()

    def __init__(self, weights, output, dtype, **kwargs):
        if output not in ("features", "logits"):
            raise ValueError(
                '`output` must be "features" or "logits". Received: '
                f"output={output!r}"
            )
        super().__init__(dtype=dtype, trainable=False, **kwargs)
        self.output_name = output
        # `weights` is a property of every layer.
        self._weights_path = None if weights is None else str(weights)
        network = self._build_network()
        path = self._weights_path or str(self._default_weights())
        with _open(path) as files:
            ignored = (*_IGNORED, *self._ignored)
            load_layers(files, _published_layers(network), ignored)
        if output == "features":
            network = keras.Model(network.inputs, network.layers[-1].input)
        network.trainable = False
        self._network = network
        self.built = True

    @property
    def feature_dim(self):
        """Length of the vector of a picture."""
        return self._network.output_shape[-1]

    def call(self, images):
        check_in_model_range(images)
        inputs = self._prepare(ops.cast(images, "float32"))
        features = self._network(
            ops.cast(inputs, self.compute_dtype), training=False
        )
        return ops.cast(features, "float32")  # (batch, feature_dim)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.feature_dim)

    def get_config(self):
        config = super().get_config()
        del config["trainable"]
        return {
            **config,
            "weights": self._weights_path,
            "output": self.output_name,
        }


def layer_name(published_name):
    """A published name without dots, which PyTorch's modules refuse."""
    return published_name.replace(".", "-")


def _published_layers(network):
    """What each published tensor fills, for `load_layers`."""
    layers = {
        layer.name.replace("-", "."): layer
        for layer in network.layers
        if layer.weights
    }
    for name, layer in list(layers.items()):
        if isinstance(layer, keras.layers.BatchNormalization):
            layers[f"{name}.running_mean"] = layer.moving_mean
            layers[f"{name}.running_var"] = layer.moving_variance
    return layers


def _open(path):
    if not os.path.isfile(path):
        raise ValueError(
            f"`weights` must be a file. Received: weights={path!r}"
        )
    if path.endswith(".safetensors"):
        return SafetensorsFile(path)
    return TorchFiles(path)
