"""Finite scalar quantization: a codebook that is a grid."""

import hashlib
import math

import keras
import numpy as np
from keras import ops

from keras_muse.ops import quantization
from keras_muse.runtime.checks import LARGEST_INT
from keras_muse.runtime.checks import check_ints


@keras.saving.register_keras_serializable(package="keras_muse")
class FSQ(keras.layers.Layer):
    """Rounds each number of a vector to one of a few levels.

    The codes are all combinations of the levels: there is nothing to learn,
    no code is ever idle, and no loss is needed. Numbers are bounded by
    `2 sigmoid(1.6 x) - 1`, under which normally distributed ones fill the
    levels about equally.

    Args:
        levels: sequence of ints, at least 2 each. How many levels each number
            of a vector has: `(8, 5, 5, 5)` makes 1,000 codes, `(8, 8, 8, 8)`
            4,096.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy;
            rounding is in float32 in any case.

    Call arguments:
        x: float tensor of shape `(..., len(levels))`.
        training: bool. Without effect: there is no state.
        loss_names: sequence of strings. Empty: there are no losses.

    Returns:
        A dict: `"quantized"`, float tensor of the shape of `x`, in [-1, 1],
        with the gradient of the bounded `x` passed straight through;
        `"token_ids"`, int32 tensor of shape `(...)`; `"losses"`, an empty
        dict.

    Raises:
        ValueError: if `levels` are not ints of at least 2, or the last axis of
            the input is not as long.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.FSQ((8, 5, 5, 5))
    ids = layer(np.random.normal(size=(1, 4, 4, 4)))["token_ids"]

    tokenizer = keras_muse.VQGANTokenizer(
        base_channels=8, channel_multipliers=(1, 2), num_groups=4,
        quantizer=layer,
    )
    ```

    Reference:
        - [Mentzer et al., 2023](https://arxiv.org/abs/2309.15505)
        - [iFSQ](https://github.com/Tencent-Hunyuan/iFSQ), for the bound
    """

    loss_weights = {}

    def __init__(self, levels, **kwargs):
        super().__init__(**kwargs)
        self.levels = check_ints(levels, "levels", low=2)
        self.codebook_size = math.prod(self.levels)
        if self.codebook_size > LARGEST_INT:
            raise ValueError(
                f"`levels` must make at most {LARGEST_INT} codes. Received: "
                f"levels={self.levels}, {self.codebook_size} codes"
            )
        self.codebook_dim = len(self.levels)
        # What a step in each number counts in an id; the first counts 1.
        self._strides = np.cumprod([1, *self.levels[:-1]]).astype("int32")

    def build(self, input_shape):
        if input_shape[-1] != self.codebook_dim:
            raise ValueError(
                "The last axis of the input must be as long as `levels`. "
                f"Received: input_shape={input_shape}, levels={self.levels}"
            )
        self.output_shape = tuple(input_shape)  # for `summary`
        self.built = True

    def call(self, x, training=False, loss_names=()):
        bounded = 2 * ops.sigmoid(1.6 * ops.cast(x, "float32")) - 1
        steps = ops.convert_to_tensor(np.array(self.levels) - 1, "float32")
        strides = ops.convert_to_tensor(self._strides)
        # (..., codebook_dim), whole numbers from 0 to levels - 1
        places = ops.round((bounded + 1) / 2 * steps)
        quantized = quantization.straight_through(
            bounded, places / steps * 2 - 1
        )
        return {
            "quantized": ops.cast(quantized, self.compute_dtype),
            "token_ids": ops.sum(ops.cast(places, "int32") * strides, axis=-1),
            "losses": {},
        }

    def lookup(self, token_ids):
        """Codes of `token_ids`, float32 of shape `(..., codebook_dim)`."""
        token_ids = ops.cast(token_ids, "int32")[..., None]
        levels = ops.convert_to_tensor(np.array(self.levels, "int32"))
        places = token_ids // ops.convert_to_tensor(self._strides) % levels
        steps = ops.cast(levels - 1, "float32")
        return ops.cast(places, "float32") / steps * 2 - 1

    def fingerprint(self):
        """A hash of the codes, by which stored tokens know them again."""
        return hashlib.sha256(repr(("FSQ", self.levels)).encode()).hexdigest()

    def compute_output_shape(self, input_shape, *args, **kwargs):
        return {
            "quantized": input_shape,
            "token_ids": input_shape[:-1],
            "losses": {},
        }

    def get_config(self):
        return {**super().get_config(), "levels": self.levels}
