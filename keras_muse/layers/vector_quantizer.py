"""The codebook between encoder and decoder."""

import hashlib

import keras
from keras import ops

from keras_muse.layers import initializers
from keras_muse.ops import noise
from keras_muse.ops import quantization
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_number


@keras.saving.register_keras_serializable(package="keras_muse")
class VectorQuantizer(keras.layers.Layer):
    """Nearest-code quantization with a codebook that follows its vectors.

    In training each code moves to the running mean of the vectors that it
    served, so the codebook takes no gradient and no learning rate. A code
    that serves none for long is revived: it is put on a vector of the current
    batch, drawn by counter-based noise, so that all replicas of a global
    program revive the same codes in the same way.

    Args:
        codebook_size: int. Number of codes.
        codebook_dim: int. Width of a code.
        decay: float in [0, 1). Decay of the running means. Defaults to
            `0.99`.
        revival_steps: int. A code that served no vector for so many steps is
            revived; `0` revives none. Defaults to `50`.
        normalize_codes: bool. Whether vectors and codes are brought to
            length 1 before they are compared and looked up. Defaults to
            `False`.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy;
            distances and the codebook are float32 in any case.

    Call arguments:
        x: float tensor of shape `(..., codebook_dim)`.
        training: bool. Whether the codebook follows `x`.
        loss_names: sequence of strings. Which losses to compute, out of
            `loss_weights`. Defaults to none.

    Returns:
        A dict: `"quantized"`, float tensor of the shape of `x` with the
        gradient of `x` passed straight through; `"token_ids"`, int32 tensor
        of shape `(...)`; `"losses"`, a dict of float32 scalars:
        `"commitment_loss"`, which pulls vectors to their codes, and
        `"entropy_loss"`, which spreads them over all codes.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.VectorQuantizer(32, 8)
    ids = layer(np.random.normal(size=(1, 4, 4, 8)))["token_ids"]
    ```

    Reference:
        - [VQ-VAE, appendix A.1](https://arxiv.org/abs/1711.00937)
        - [ViT-VQGAN](https://arxiv.org/abs/2110.04627), for codes of length 1
    """

    # The losses there are, and what each counts unless told otherwise.
    loss_weights = {"commitment_loss": 0.25, "entropy_loss": 0.1}

    def __init__(
        self,
        codebook_size,
        codebook_dim,
        decay=0.99,
        revival_steps=50,
        normalize_codes=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.codebook_size = check_int(codebook_size, "codebook_size")
        self.codebook_dim = check_int(codebook_dim, "codebook_dim")
        self.decay = check_number(decay, "decay", 0, 1, open_at="high")
        self.revival_steps = check_int(revival_steps, "revival_steps", low=0)
        self.normalize_codes = check_bool(normalize_codes, "normalize_codes")

    def build(self, input_shape):
        if input_shape[-1] != self.codebook_dim:
            raise ValueError(
                "The last axis of the input must be `codebook_dim`. Received: "
                f"input_shape={input_shape}, codebook_dim={self.codebook_dim}"
            )
        shape = (self.codebook_size, self.codebook_dim)
        self.codebook = self._state(
            "codebook", shape, initializers.RandomNormal()
        )
        self.code_counts = self._state("code_counts", shape[:1], "ones")
        self.code_sums = self._state("code_sums", shape, "zeros")
        self.idle_steps = self._state("idle_steps", shape[:1], "zeros", "int32")
        self.num_updates = self._state("num_updates", (), "zeros", "int32")
        self.output_shape = tuple(input_shape)  # for `summary`
        self.built = True

    def _state(self, name, shape, initializer, dtype="float32"):
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            dtype=dtype,
            trainable=False,
            autocast=False,
            name=name,
        )

    def call(self, x, training=False, loss_names=()):
        vectors = self._normalized(ops.reshape(x, (-1, self.codebook_dim)))
        # A copy: Torch assigns in place, and the gradient needs the codes as
        # they were in this forward pass.
        codebook = ops.copy(ops.convert_to_tensor(self.codebook))
        codebook = self._normalized(codebook)
        distances = quantization.squared_distances(vectors, codebook)
        token_ids = ops.cast(ops.argmin(distances, axis=1), "int32")
        quantized = ops.take(codebook, token_ids, axis=0)
        quantized = ops.cast(quantized, vectors.dtype)
        if training and self.trainable:
            self._update_codebook(
                ops.cast(vectors, "float32"),
                token_ids,
                ops.min(distances, axis=1),
            )
        shape = ops.shape(x)
        return {
            "quantized": ops.reshape(
                quantization.straight_through(vectors, quantized), shape
            ),
            "token_ids": ops.reshape(token_ids, shape[:-1]),
            "losses": self._loss_terms(distances, loss_names),
        }

    def _loss_terms(self, distances, names):
        losses = {}
        if "commitment_loss" in names:
            # The distance of a vector to its code, over their width.
            nearest = ops.mean(ops.min(distances, axis=1))
            losses["commitment_loss"] = nearest / self.codebook_dim
        if "entropy_loss" in names:
            losses["entropy_loss"] = quantization.entropy_loss(distances)
        return losses

    def lookup(self, token_ids):
        """Codes of `token_ids`, float32 of shape `(..., codebook_dim)`."""
        return self._normalized(ops.take(self.codebook, token_ids, axis=0))

    def fingerprint(self):
        """A hash of the codes, by which stored tokens know them again."""
        codebook = ops.convert_to_numpy(self.codebook).astype("<f4")
        return hashlib.sha256(codebook.tobytes()).hexdigest()

    def _normalized(self, vectors):
        """Vectors brought to length 1 if `normalize_codes` says so."""
        if not self.normalize_codes:
            return vectors
        exact = ops.cast(vectors, "float32")
        squares = ops.sum(ops.square(exact), axis=-1, keepdims=True)
        # The floor keeps the gradient of a zero vector finite.
        scale = ops.rsqrt(ops.maximum(squares, 1e-24))
        return ops.cast(exact * scale, vectors.dtype)

    def mark_initialized(self):
        """Lets training go on from a codebook that was assigned.

        Without it, the first batch places all codes anew.
        """
        self.code_counts.assign(ops.ones(self.codebook_size))
        # A copy: no two variables may share a buffer that JAX donates.
        codebook = ops.copy(ops.convert_to_tensor(self.codebook))
        self.code_sums.assign(codebook)
        self.idle_steps.assign(ops.zeros(self.codebook_size, "int32"))
        self.num_updates.assign(1)

    def _update_codebook(self, vectors, token_ids, errors):
        """Moves the codes to their vectors' running mean, revives idle ones."""
        served = ops.segment_sum(
            ops.ones_like(errors), token_ids, self.codebook_size
        )
        sums = ops.segment_sum(vectors, token_ids, self.codebook_size)
        counts = self.decay * self.code_counts + (1 - self.decay) * served
        sums = self.decay * self.code_sums + (1 - self.decay) * sums
        idle_steps = ops.where(served > 0, 0, self.idle_steps + 1)
        expired = self._expired(idle_steps)
        # A revived code starts with the mean count, as if it had long been
        # where it is now.
        mean_count = ops.mean(counts)
        counts = ops.where(expired, mean_count, counts)
        revived = self._draw_vectors(vectors, errors) * mean_count
        sums = ops.where(expired[:, None], revived, sums)
        self.code_counts.assign(counts)
        self.code_sums.assign(sums)
        # The mean of what was served too long ago is lost in rounding.
        means = sums / ops.maximum(counts, 1e-8)[:, None]
        known = (counts > 1e-8)[:, None]
        codebook = ops.convert_to_tensor(self.codebook)
        self.codebook.assign(ops.where(known, means, codebook))
        self.idle_steps.assign(ops.where(expired, 0, idle_steps))
        self.num_updates.assign_add(1)

    def _expired(self, idle_steps):
        # The first batch places all codes: random ones serve nothing.
        first = ops.equal(self.num_updates, 0)
        if not self.revival_steps:
            return ops.logical_and(first, idle_steps >= 0)
        return ops.logical_or(first, idle_steps >= self.revival_steps)

    def _draw_vectors(self, vectors, errors):
        """A vector of the batch for each code, the same on all replicas.

        The chance of a vector is its error, as in k-means++: new codes go
        where codes are missing, not where pictures are plain.
        """
        chances = noise.uniform(
            ops.reshape(self.num_updates, (1,)),
            noise.REVIVAL_STREAM,
            num_positions=self.codebook_size,
        )[0]
        mass = ops.cumsum(ops.maximum(errors, 1e-8))
        chosen = ops.searchsorted(mass, chances * mass[-1])
        chosen = ops.minimum(chosen, ops.shape(vectors)[0] - 1)
        return ops.take(vectors, chosen, axis=0)

    def get_config(self):
        return {
            **super().get_config(),
            "codebook_size": self.codebook_size,
            "codebook_dim": self.codebook_dim,
            "decay": self.decay,
            "revival_steps": self.revival_steps,
            "normalize_codes": self.normalize_codes,
        }
