"""Self-attention of large token grids, inside blocks and across them."""

import keras

from keras_muse.layers.attention import Attention
from keras_muse.ops import attention
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_ints


@keras.saving.register_keras_serializable(package="keras_muse")
class MultiAxisAttention(Attention):
    """Self-attention with half of the heads in blocks, half across blocks.

    Args:
        num_heads: int, even. Number of heads.
        grid_size: pair of ints. `(height, width)` of the token grid.
        block_size: int. Side of a block; it divides both sides of the grid.
        use_query_key_norm: bool. As in `Attention`. Defaults to `False`.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        x: float tensor of shape `(batch, height * width, hidden_dim)`.

    Returns:
        Float tensor of the shape of `x`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    layer = keras_muse.layers.MultiAxisAttention(
        num_heads=2, grid_size=(8, 8), block_size=4
    )
    y = layer(np.zeros((1, 64, 8), "float32"))
    ```

    Reference:
        - [Muse, section 3](https://arxiv.org/abs/2301.00704)
        - [HiT](https://arxiv.org/abs/2106.07631)
    """

    def __init__(
        self,
        num_heads,
        grid_size,
        block_size,
        use_query_key_norm=False,
        **kwargs,
    ):
        num_heads = check_int(num_heads, "num_heads")
        grid_size = check_ints(grid_size, "grid_size", length=2)
        block_size = check_int(block_size, "block_size")
        if num_heads % 2:
            raise ValueError(
                "`num_heads` must be even, half of the heads for each axis. "
                f"Received: num_heads={num_heads}"
            )
        if any(side % block_size for side in grid_size):
            raise ValueError(
                "`block_size` must divide both sides of `grid_size`. "
                f"Received: block_size={block_size}, grid_size={grid_size}"
            )
        super().__init__(num_heads, use_query_key_norm, **kwargs)
        self.grid_size = grid_size
        self.block_size = block_size

    def mix(self, query, key, value, key_mask):
        if key_mask is not None:
            raise ValueError(
                "`key_mask` must be None: all tokens of a grid exist. "
                "Received: a mask"
            )
        return attention.attend_multi_axis(
            query, key, value, self.grid_size, self.block_size
        )

    def get_config(self):
        return {
            **super().get_config(),
            "grid_size": self.grid_size,
            "block_size": self.block_size,
        }
