"""Scaled dot-product attention, the one place where it is computed.

`keras.ops.dot_product_attention` may pick a fused TPU kernel that is causal,
unscaled and blind to `bias` when no mask is given (Keras 3.15), so it is not
used here: each backend's own kernel is called, where it is known to be right.
"""

import importlib

import keras
from keras import ops

from keras_muse.ops.parts import map_parts

# Of one head of one example: 4 MiB.
MAX_SCORES = 2**20
IMPLEMENTATIONS = ("plain", "fused")


def attend(query, key, value, mask=None, implementation=None):
    """Softmax attention in float32; a query with no key attends to nothing.

    It is the backend's fused kernel where there is one, which never writes
    the scores to memory: Torch's, and cuDNN's with JAX on an NVIDIA GPU, in
    half precision. `keras.config.disable_flash_attention()` turns that off,
    for programs that are compiled after it.

    Otherwise, where the scores of a head are more than `MAX_SCORES`, as
    between the tokens of large pictures, a part of the queries is taken at a
    time, and the backward pass computes their scores again: all at once they
    would be more than all other activations.

    Args:
        query: float tensor of shape `(batch, num_queries, num_heads,
            head_dim)`.
        key: float tensor of shape `(batch, num_keys, num_heads, head_dim)`.
        value: float tensor of the shape of `key`.
        mask: bool or int tensor of shape `(batch, num_keys)`, true at keys
            that exist, or `None` if all do.
        implementation: `"plain"`, `"fused"` or `None`. Defaults to `None`,
            the fused kernel where there is one.

    Returns:
        Float tensor of the shape of `query`. It is zero, not NaN and not the
        mean of padding, where the mask leaves no key.

    Raises:
        ValueError: if `implementation` is another, or `"fused"` and there is
            no such kernel for these tensors.
    """
    query, key, value = (ops.convert_to_tensor(x) for x in (query, key, value))
    if mask is not None:
        mask = ops.cast(mask, "bool")
    if choose_implementation(query, key, mask, implementation) == "fused":
        return _leaf().fused_attention(query, key, value, mask)
    # Heads in front: a plain batch of matrices is what multiplies fastest.
    query, key, value = (
        ops.swapaxes(x, 1, 2) for x in (query, key, value)
    )  # (batch, num_heads, num_tokens, head_dim)
    # Numbers that are not known while TensorFlow traces or JAX exports: of a
    # text, whose keys are few, or of pictures of any size, not cut then.
    num_queries, num_keys = (
        x.shape[2] if isinstance(x.shape[2], int) else 0 for x in (query, key)
    )
    num_parts = -(-num_queries * num_keys // MAX_SCORES)
    if num_parts > 1:
        attended = _attend_in_parts(query, key, value, mask, num_parts)
    else:
        attended = _attend(query, key, value, mask)
    return ops.swapaxes(attended, 1, 2)


def choose_implementation(query, key, mask=None, implementation=None):
    """Which implementation `attend` takes, with its arguments."""
    if implementation not in (None, *IMPLEMENTATIONS):
        raise ValueError(
            f"`implementation` must be one of {IMPLEMENTATIONS} or None. "
            f"Received: implementation={implementation!r}"
        )
    if implementation is None and not _is_fused_enabled():
        implementation = "plain"
    if implementation == "plain":
        return "plain"
    obstacle = _leaf().obstacle_to_fused_attention(query, key, mask)
    if implementation == "fused" and obstacle:
        raise ValueError(
            "implementation='fused' is not possible here: "
            f"{obstacle}. Received: a query of {query.dtype} of shape "
            f"{tuple(query.shape)} and a key of shape {tuple(key.shape)}"
        )
    return "plain" if obstacle else "fused"


def _is_fused_enabled():
    # Keras says `None` where it is on, and it is on by default.
    return keras.config.is_flash_attention_enabled() is not False


def _leaf():
    backend = keras.config.backend()
    return importlib.import_module(f"keras_muse.ops._{backend}")


def _attend(query, key, value, mask):
    scale = query.shape[-1] ** -0.5
    scores = ops.matmul(query * scale, ops.swapaxes(key, 2, 3))
    scores = ops.cast(scores, "float32")
    if mask is not None:
        scores = ops.where(mask[:, None, None, :], scores, -1e9)
    # The floor makes all weights 0, not equal, where the mask leaves no key.
    largest = ops.maximum(ops.max(scores, axis=-1, keepdims=True), -1e8)
    weights = ops.exp(scores - ops.stop_gradient(largest))
    total = ops.sum(weights, axis=-1, keepdims=True)
    total = ops.where(total > 0, total, 1.0)
    attended = ops.matmul(ops.cast(weights, value.dtype), value)
    # Dividing the sums costs less than dividing each weight.
    attended = ops.cast(attended, "float32") / total
    return ops.cast(attended, value.dtype)


def _attend_in_parts(query, key, value, mask, num_parts):
    """The same for equal parts of the queries, one after the other."""
    # Keys and values are arguments: gradients reach nothing else there.
    attend_part = keras.remat(
        lambda query, key, value: _attend(query, key, value, mask)
    )
    return map_parts(
        lambda part, _: attend_part(part, key, value), query, num_parts, axis=2
    )


def to_blocks(x, grid_size, block_size):
    """Splits a token grid into square blocks.

    Args:
        x: tensor of shape `(batch, height * width, ...)`, row by row.
        grid_size: pair of ints, `(height, width)`.
        block_size: int that divides both.

    Returns:
        Tensor of shape `(batch, num_blocks, block_size ** 2, ...)`: axis 1
        walks over the blocks, axis 2 inside a block.
    """
    height, width = grid_size
    rows, columns = height // block_size, width // block_size
    rest = x.shape[2:]
    x = ops.reshape(x, (-1, rows, block_size, columns, block_size, *rest))
    x = ops.moveaxis(x, 3, 2)  # (batch, rows, columns, block, block, ...)
    return ops.reshape(x, (-1, rows * columns, block_size**2, *rest))


def from_blocks(x, grid_size, block_size):
    """Undoes `to_blocks`."""
    height, width = grid_size
    rows, columns = height // block_size, width // block_size
    rest = x.shape[3:]
    x = ops.reshape(x, (-1, rows, columns, block_size, block_size, *rest))
    x = ops.moveaxis(x, 2, 3)
    return ops.reshape(x, (-1, height * width, *rest))


def attend_multi_axis(query, key, value, grid_size, block_size):
    """Self-attention with the heads split over two axes of a token grid.

    The first half of the heads attends inside blocks of
    `block_size x block_size` neighbours, the second half across blocks, to
    the tokens at the same place in each block. A 64 x 64 grid in blocks of 8
    costs 64 keys a query in place of 4096.

    Args:
        query: float tensor of shape `(batch, num_tokens, num_heads,
            head_dim)`; `num_heads` is even.
        key: float tensor of the same shape.
        value: float tensor of the same shape.
        grid_size: pair of ints, `height * width == num_tokens`.
        block_size: int that divides both.

    Returns:
        Float tensor of the shape of `query`.

    Reference:
        - [Muse, section 3](https://arxiv.org/abs/2301.00704), which takes it
          from [HiT](https://arxiv.org/abs/2106.07631)
    """
    half = query.shape[2] // 2
    blocks = [to_blocks(x, grid_size, block_size) for x in (query, key, value)]
    inside = _attend_last_axis(*[x[:, :, :, :half] for x in blocks])
    # Swapping the two axes makes "across blocks" the last one.
    across = _attend_last_axis(
        *[ops.swapaxes(x[:, :, :, half:], 1, 2) for x in blocks]
    )
    mixed = ops.concatenate([inside, ops.swapaxes(across, 1, 2)], axis=3)
    return from_blocks(mixed, grid_size, block_size)


def _attend_last_axis(query, key, value):
    # (batch, groups, positions, heads, head_dim), attention over positions
    shape = query.shape[1:]
    flat = [ops.reshape(x, (-1, *shape[1:])) for x in (query, key, value)]
    return ops.reshape(attend(*flat), (-1, *shape))
