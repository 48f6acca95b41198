"""Pictures from people's side to a network, in batches of one size."""

import keras
from keras import ops

from keras_muse.ops.images import check_range
from keras_muse.ops.images import to_model_range
from keras_muse.runtime.batches import map_batches
from keras_muse.runtime.checks import check_array
from keras_muse.runtime.checks import check_image_shape
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_texts
from keras_muse.runtime.checks import show
from keras_muse.runtime.compiled import compile_function
from keras_muse.runtime.compiled import fetchable


def check_pictures(images, argument):
    """Returns pictures as a numpy array, of the dtype they came in.

    Args:
        images: array or tensor of shape `(batch, height, width, 3)`.
        argument: string. What the caller calls them.
    """
    images = check_array(images, argument)
    check_image_shape(images, argument)
    return images


def check_captioned(images, texts):
    """Returns pictures as `check_pictures` does, and a text for each."""
    images = check_pictures(images, "images")
    texts = check_texts(texts, "texts")
    if len(texts) != len(images):
        raise ValueError(
            "`texts` must be one per picture. Received: "
            f"{len(texts)} texts, {len(images)} pictures"
        )
    return images, texts


def check_same_shape(y_true, y_pred):
    """Returns two equally shaped batches of pictures as numpy arrays."""
    y_true = check_pictures(y_true, "y_true")
    y_pred = check_pictures(y_pred, "y_pred")
    if y_true.shape != y_pred.shape:
        raise ValueError(
            "`y_true` and `y_pred` must be of the same shape. Received: "
            f"y_true.shape={y_true.shape}, y_pred.shape={y_pred.shape}"
        )
    return y_true, y_pred


def clip_to_display_range(images):
    """Pictures as they are seen, as float32 numpy in `[-1, 1]`.

    Values of a decoder outside that range are clipped, as they are when the
    pictures are stored.
    """
    check_range(images)
    images = ops.convert_to_numpy(to_model_range(images))
    return images.clip(-1.0, 1.0)


class PictureBatches:
    """Runs a network over pictures in batches of one size.

    A layer or model is compiled; the weights stay its own, so that it can be
    trained in between. Another function is called as it is.

    Args:
        network: function of one or more batches of float pictures in
            `[-1, 1]` that returns a tensor with a row per picture.
        batch_size: int. The largest batch.
    """

    def __init__(self, network, batch_size):
        if not callable(network):
            raise ValueError(
                "A network must be a function, a layer or a model. "
                f"Received: {show(network)}"
            )
        self.network = network
        self.batch_size = check_int(batch_size, "batch_size")
        self._function = None
        self._num_rows = 0

    def __call__(self, *pictures):
        """Returns numpy rows for checked pictures of any number."""
        # Few pictures are filled up to the batch that is compiled already.
        num_rows = min(self.batch_size, len(pictures[0]))
        self._num_rows = max(self._num_rows, num_rows)
        return map_batches(
            self._run, list(pictures), self.batch_size, self._num_rows
        )

    def _run(self, *pictures):
        pictures = [clip_to_display_range(x) for x in pictures]
        if self._function is None:
            self._function = self._compiled(*pictures)
        rows = ops.convert_to_numpy(self._function(*pictures))
        if rows.ndim == 0 or len(rows) != len(pictures[0]):
            raise ValueError(
                "A network must give a row for each picture. Received: shape "
                f"{rows.shape} of {len(pictures[0])} pictures"
            )
        return rows

    def _compiled(self, *pictures):
        network = self.network
        if not isinstance(network, keras.layers.Layer):
            return network
        if not network.built:  # variables cannot be made while it compiles
            network(*[keras.KerasTensor(x.shape) for x in pictures])
        return compile_function(network, lambda *x: fetchable(network(*x)))
