"""Codes and places of image tokens."""

import keras
import numpy as np
from keras import ops

from keras_muse.layers import initializers
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_ints

# Cycles over the picture of the slowest and the fastest initial wave.
SLOWEST_WAVE, FASTEST_WAVE = 0.5, 8.0


@keras.saving.register_keras_serializable(package="keras_muse")
class TokenEmbedding(keras.layers.Layer):
    """Embeds token ids and adds a learned embedding of their 2-D position.

    Args:
        vocabulary_size: int. Number of ids: the codebook, and one for
            [MASK] where tokens can be masked.
        hidden_dim: int. Width of the embedding.
        grid_size: pair of ints. `(height, width)` of the token grid.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        token_ids: int tensor of shape `(batch, height * width)`, row by row.

    Returns:
        Float tensor of shape `(batch, height * width, hidden_dim)`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.TokenEmbedding(33, 8, grid_size=(4, 4))
    y = layer(np.zeros((1, 16), "int32"))
    ```

    Reference:
        - [Muse, section 2.3](https://arxiv.org/abs/2301.00704)
    """

    def __init__(self, vocabulary_size, hidden_dim, grid_size, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary_size = check_int(vocabulary_size, "vocabulary_size")
        self.hidden_dim = check_int(hidden_dim, "hidden_dim")
        self.grid_size = check_ints(grid_size, "grid_size", length=2)

    def build(self, input_shape=None):
        # About as large as the positions. The first steps move small codes all
        # the same way, and then it takes long to tell them apart.
        self.codes = keras.layers.Embedding(
            self.vocabulary_size,
            self.hidden_dim,
            embeddings_initializer=initializers.TruncatedNormal(stddev=1.0),
            dtype=self.dtype_policy,
            name="codes",
        )
        self.codes.build(input_shape)
        self.positions = self.add_weight(
            shape=(*self.grid_size, self.hidden_dim),
            initializer=sinusoidal_positions,
            name="positions",
        )
        self.built = True

    def call(self, token_ids):
        height, width = self.grid_size
        positions = ops.reshape(
            self.positions, (1, height * width, self.hidden_dim)
        )
        x = self.codes(token_ids)
        return x + ops.cast(positions, x.dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.hidden_dim)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "hidden_dim": self.hidden_dim,
            "grid_size": self.grid_size,
        }


def sinusoidal_positions(shape, dtype=None):
    """Where learned 2-D positions start: waves over rows and columns.

    The waves are those of the picture, not of the grid. Tokens at the same
    place of a small and of a large grid start alike, which is what
    super-resolution has to find out; from random positions it takes long.

    Args:
        shape: `(height, width, hidden_dim)`.
        dtype: string. Defaults to the global float type.

    Returns:
        Tensor of that shape, of root mean square 1.
    """
    height, width, hidden_dim = shape
    num_waves = -(-hidden_dim // 4)
    waves = np.geomspace(SLOWEST_WAVE, FASTEST_WAVE, num_waves)
    features = []
    for axis, size in enumerate((height, width)):
        places = (np.arange(size) + 0.5) / size  # centres of tokens, in (0, 1)
        angles = 2 * np.pi * places[:, None] * waves
        angles = np.expand_dims(angles, 1 - axis)
        angles = np.broadcast_to(angles, (height, width, num_waves))
        features += [np.sin(angles), np.cos(angles)]
    positions = np.concatenate(features, axis=-1)[..., :hidden_dim]
    return ops.convert_to_tensor(np.sqrt(2) * positions, dtype=dtype)
