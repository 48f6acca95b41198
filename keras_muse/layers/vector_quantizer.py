"""The codebook between encoder and decoder."""

import keras
from keras import ops

from keras_muse.ops import noise
from keras_muse.ops import quantization


@keras.saving.register_keras_serializable(package="keras_muse")
class VectorQuantizer(keras.layers.Layer):
    """Nearest-code quantization with a codebook that follows its vectors.

    In training each code moves to the running mean of the vectors that it
    served, so the codebook takes no gradient and no learning rate. A code
    that serves next to none is revived: it is put on a vector of the current
    batch, drawn by counter-based noise, so that all replicas of a global
    program revive the same codes in the same way.

    Args:
        codebook_size: int. Number of codes.
        codebook_dim: int. Width of a code.
        decay: float in (0, 1). Decay of the running means. Defaults to
            `0.99`.
        revival_threshold: float. A code is revived when its running count of
            served vectors falls below this part of the mean count. `0`
            disables revival. Defaults to `0.03`.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy;
            distances and the codebook are float32 in any case.

    Call arguments:
        x: float tensor of shape `(..., codebook_dim)`.
        training: bool. Whether the codebook follows `x`.

    Returns:
        A dict: `"quantized"`, float tensor of the shape of `x` with the
        gradient of `x` passed straight through; `"token_ids"`, int32 tensor
        of shape `(...)`; `"distances"`, float32 tensor of shape
        `(num_vectors, codebook_size)`, differentiable in `x`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.VectorQuantizer(32, 8)
    ids = layer(np.random.normal(size=(1, 4, 4, 8)))["token_ids"]
    ```

    Reference:
        - [VQ-VAE, appendix A.1](https://arxiv.org/abs/1711.00937)
    """

    def __init__(
        self,
        codebook_size,
        codebook_dim,
        decay=0.99,
        revival_threshold=0.03,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.codebook_size = codebook_size
        self.codebook_dim = codebook_dim
        self.decay = decay
        self.revival_threshold = revival_threshold

    def build(self, input_shape):
        if input_shape[-1] != self.codebook_dim:
            raise ValueError(
                "The last axis of the input must be `codebook_dim`. Received: "
                f"input_shape={input_shape}, codebook_dim={self.codebook_dim}"
            )
        shape = (self.codebook_size, self.codebook_dim)
        self.codebook = self._state("codebook", shape, "random_normal")
        self.code_counts = self._state("code_counts", shape[:1], "ones")
        self.code_sums = self._state("code_sums", shape, "zeros")
        self.num_updates = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int32",
            trainable=False,
            name="num_updates",
        )
        self.built = True

    def _state(self, name, shape, initializer):
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            dtype="float32",
            trainable=False,
            autocast=False,
            name=name,
        )

    def call(self, x, training=False):
        vectors = ops.reshape(x, (-1, self.codebook_dim))
        # A copy: Torch assigns in place, and the gradient needs the codes as
        # they were in this forward pass.
        codebook = ops.copy(ops.convert_to_tensor(self.codebook))
        distances = quantization.squared_distances(vectors, codebook)
        token_ids = ops.cast(ops.argmin(distances, axis=1), "int32")
        quantized = ops.take(codebook, token_ids, axis=0)
        quantized = ops.cast(quantized, vectors.dtype)
        if training and self.trainable:
            self._follow(ops.cast(vectors, "float32"), token_ids)
        shape = ops.shape(x)
        return {
            "quantized": ops.reshape(
                quantization.straight_through(vectors, quantized), shape
            ),
            "token_ids": ops.reshape(token_ids, shape[:-1]),
            "distances": distances,
        }

    def lookup(self, token_ids):
        """Codes of `token_ids`, float32 of shape `(..., codebook_dim)`."""
        return ops.take(self.codebook, token_ids, axis=0)

    def _follow(self, vectors, token_ids):
        """Moves the codes to their vectors and revives the dead ones."""
        served = ops.segment_sum(
            ops.ones_like(vectors[:, 0]), token_ids, self.codebook_size
        )
        sums = ops.segment_sum(vectors, token_ids, self.codebook_size)
        counts = self.decay * self.code_counts + (1 - self.decay) * served
        sums = self.decay * self.code_sums + (1 - self.decay) * sums
        mean_count = ops.mean(counts)
        # The first batch places every code: random codes serve nothing.
        dead = ops.logical_or(
            counts < self.revival_threshold * mean_count,
            ops.equal(self.num_updates, 0),
        )
        # A revived code starts with the mean count, so that it has some
        # hundred steps to find its vectors before it is judged again.
        counts = ops.where(dead, mean_count, counts)
        sums = ops.where(
            dead[:, None], self._draw(vectors) * mean_count, sums
        )
        self.code_counts.assign(counts)
        self.code_sums.assign(sums)
        self.codebook.assign(sums / ops.maximum(counts, 1e-8)[:, None])
        self.num_updates.assign_add(1)

    def _draw(self, vectors):
        """One vector of the batch for each code, the same on all replicas."""
        seed = ops.reshape(self.num_updates, (1,))
        chances = noise.uniform(
            seed, noise.REVIVAL_STREAM, num_positions=self.codebook_size
        )[0]
        num_vectors = ops.cast(ops.shape(vectors)[0], "float32")
        chosen = ops.cast(ops.floor(chances * num_vectors), "int32")
        return ops.take(vectors, chosen, axis=0)

    def get_config(self):
        return {
            **super().get_config(),
            "codebook_size": self.codebook_size,
            "codebook_dim": self.codebook_dim,
            "decay": self.decay,
            "revival_threshold": self.revival_threshold,
        }
