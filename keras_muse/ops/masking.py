"""Masked-token corruption: which tokens of a row are hidden."""

import math

from keras import ops

MASK_SCHEDULES = ("cosine", "arccos")


def random_mask_ratio(uniform_noise, mask_schedule="cosine"):
    """Draws the fraction of tokens to mask, `r = cos(pi u / 2)`.

    `r` has the density `(2 / pi) (1 - r^2)^(-1/2)` on [0, 1], of mean 2 / pi:
    high ratios are frequent, as they are in parallel decoding. That of
    `"arccos"`, `r = 2 arccos(u) / pi`, is `(pi / 2) sin(pi r / 2)`, of the same
    mean: fewer rows are masked nearly whole, and fewer hardly at all.

    Args:
        uniform_noise: float tensor in (0, 1).
        mask_schedule: `"cosine"` or `"arccos"`. Defaults to `"cosine"`.

    Returns:
        Float tensor in [0, 1] of the same shape.

    Reference:
        - [Muse, section 2.6](https://arxiv.org/abs/2301.00704)
        - [MaskBit](https://arxiv.org/abs/2409.16211), whose code has arccos
    """
    if mask_schedule == "arccos":
        return ops.arccos(uniform_noise) * (2 / math.pi)
    return ops.cos(uniform_noise * (math.pi / 2))


def rank(values):
    """Rank of each value in its row; ties go to the lower position first.

    Args:
        values: tensor of shape `(batch, num_tokens)`.

    Returns:
        int32 tensor of shape `(batch, num_tokens)`: 0 is the smallest.
    """
    order = ops.argsort(values, axis=-1)
    return ops.cast(ops.argsort(order, axis=-1), "int32")


def mask_lowest(scores, num_masked):
    """Marks exactly `num_masked` positions of each row, lowest scores first.

    Args:
        scores: float tensor of shape `(batch, num_tokens)`.
        num_masked: int tensor of shape `(batch,)`.

    Returns:
        bool tensor of shape `(batch, num_tokens)` with exactly `num_masked`
        true values in each row, whatever ties there are.
    """
    return rank(scores) < ops.cast(num_masked, "int32")[:, None]


def random_mask(ratio_noise, order_noise, mask_schedule="cosine"):
    """Masks `max(1, round(r N))` tokens of each row, uniformly chosen.

    Args:
        ratio_noise: float tensor of shape `(batch, 1)` in (0, 1).
        order_noise: float tensor of shape `(batch, num_tokens)` in (0, 1).
        mask_schedule: string, see `random_mask_ratio`. Defaults to
            `"cosine"`.

    Returns:
        bool tensor of shape `(batch, num_tokens)`, true where masked.
    """
    num_tokens = ops.shape(order_noise)[1]
    ratio = random_mask_ratio(ratio_noise[:, 0], mask_schedule)
    num_masked = ops.round(ratio * ops.cast(num_tokens, "float32"))
    return mask_lowest(order_noise, ops.maximum(num_masked, 1))
