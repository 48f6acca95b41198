"""Counter-based noise: the same bits on every backend, in any batch.

A number of the noise is a function of its counters alone (seed, stream, step,
position, code), never of a generator's state. An image therefore depends on
its own seed only, whatever batch it is made in, and JAX, TensorFlow and Torch
draw the same tokens from the same seed.

All arithmetic is on int32, which wraps around on every backend (uint32 is
incomplete on Torch). Sums are written `+`: `keras.ops.add` on TensorFlow takes
a column as a bias of the last axis where their lengths happen to agree.
"""

import keras
import numpy as np
from keras import ops

# Streams keep apart the noises that share a seed, a step and a position.
MASK_RATIO_STREAM = 0
MASK_ORDER_STREAM = 1
TEXT_DROPOUT_STREAM = 2
TOKEN_STREAM = 3
CHOICE_STREAM = 4
REVIVAL_STREAM = 5
ROLL_STREAM = 6
REMASK_STREAM = 7

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_KEY_PARITY = 0x1BD11BDA


def _int32(value):
    """A Python integer's low 32 bits as a signed int32."""
    return int(np.uint32(value & 0xFFFFFFFF).view(np.int32))


def _shift_right(x, bits):
    # int32 shifts copy the sign bit; the mask makes the shift a logical one.
    return ops.bitwise_and(ops.right_shift(x, bits), (1 << (32 - bits)) - 1)


def _rotate_left(x, bits):
    return ops.bitwise_or(ops.left_shift(x, bits), _shift_right(x, 32 - bits))


def threefry(key, counter):
    """Threefry-2x32 with 20 rounds: a keyed random function of a counter.

    Args:
        key: pair of int32 tensors that broadcast with the counter.
        counter: pair of int32 tensors.

    Returns:
        A pair of int32 tensors of random bits.

    Reference:
        - [Salmon et al., 2011](https://doi.org/10.1145/2063384.2063405)
    """
    if keras.config.backend() == "jax":
        from keras_muse.ops import _jax

        # XLA for processors repeats the unrolled rounds of one Threefry in
        # each use of the next, and does not end: JAX has a primitive for it.
        return _jax.threefry(key, counter)
    return unrolled_threefry(key, counter)


def unrolled_threefry(key, counter):
    """`threefry`, written out in `keras.ops`."""
    key = [ops.cast(word, "int32") for word in key]
    counter = [ops.cast(word, "int32") for word in counter]
    parity = ops.bitwise_xor(
        ops.bitwise_xor(key[0], key[1]), _int32(_KEY_PARITY)
    )
    keys = (key[0], key[1], parity)
    x = counter[0] + keys[0]
    y = counter[1] + keys[1]
    for block in range(5):
        for bits in _ROTATIONS[block % 2]:
            x = x + y
            y = ops.bitwise_xor(_rotate_left(y, bits), x)
        x = x + keys[(block + 1) % 3]
        y = y + keys[(block + 2) % 3] + (block + 1)
    return x, y


def hash_rows(token_ids):
    """Hashes each row of integers to an int32, the row's own seed.

    Args:
        token_ids: int32 tensor of shape `(batch, num_tokens)`.

    Returns:
        int32 tensor of shape `(batch,)`.
    """
    token_ids = ops.cast(token_ids, "int32")
    positions = ops.arange(ops.shape(token_ids)[1], dtype="int32")
    # Mixing before the sum makes the hash depend on the order of the tokens.
    mixed, _ = threefry((token_ids, positions[None, :]), (0, 0))
    return ops.cast(ops.sum(mixed, axis=1), "int32")


def _to_uniform(bits):
    # 23 bits and a half step: float32 exactly, never 0 and never 1.
    return (ops.cast(_shift_right(bits, 9), "float32") + 0.5) * 2.0**-23


def uniform(seeds, stream, step=0, num_positions=1):
    """Uniform noise in (0, 1), one number per row and position.

    Args:
        seeds: int32 tensor of shape `(batch,)`, one seed per row.
        stream: int. Keeps apart noises of different purpose.
        step: int or int32 scalar tensor. The decoding step. Defaults to `0`.
        num_positions: int. How many numbers a row gets. Defaults to `1`.

    Returns:
        float32 tensor of shape `(batch, num_positions)`.

    Example:
    ```python
    import numpy as np
    from keras_muse.ops import noise

    seeds = np.array([1, 2], "int32")
    u = noise.uniform(seeds, noise.TOKEN_STREAM, step=3, num_positions=16)
    ```
    """
    bits, _ = _position_bits(seeds, stream, step, num_positions)
    return _to_uniform(bits)


def gumbel(uniform_noise):
    """Turns uniform noise in (0, 1) into standard Gumbel noise."""
    return -ops.log(-ops.log(uniform_noise))


def code_uniform(
    seeds, stream, step, num_positions, num_codes, first_position=0
):
    """Uniform noise in (0, 1), one number per row, position and code.

    Args:
        seeds: int32 tensor of shape `(batch,)`.
        stream: int. Keeps apart noises of different purpose.
        step: int or int32 scalar tensor. The decoding step.
        num_positions: int. Number of tokens.
        num_codes: int. Number of codes a token can take.
        first_position: int. Position of the first of the tokens in its row.
            Defaults to `0`.

    Returns:
        float32 tensor of shape `(batch, num_positions, num_codes)`.
    """
    first, second = _position_bits(
        seeds, stream, step, num_positions, first_position
    )
    codes = ops.arange(num_codes, dtype="int32")
    # Two rounds of a 32-bit finalizer under the position's 64-bit key:
    # a full Threefry for each of 4096 x 8192 numbers would cost more than
    # the transformer on backends that do not fuse.
    bits = _mix(ops.bitwise_xor(first[..., None], codes))
    bits = _mix(bits + second[..., None])
    return _to_uniform(bits)


def _position_bits(seeds, stream, step, num_positions, first_position=0):
    seeds = ops.cast(seeds, "int32")[:, None]  # (batch, 1)
    step = ops.cast(step, "int32")
    positions = first_position + ops.arange(num_positions, dtype="int32")
    positions = positions[None, :]
    return threefry((seeds, step + (stream << 24)), (positions, 0))


def _mix(x):
    """A bijection of int32 in which each input bit moves every output bit."""
    x = ops.multiply(
        ops.bitwise_xor(x, _shift_right(x, 16)), _int32(0x7FEB352D)
    )
    x = ops.multiply(
        ops.bitwise_xor(x, _shift_right(x, 15)), _int32(0x846CA68B)
    )
    return ops.bitwise_xor(x, _shift_right(x, 16))
