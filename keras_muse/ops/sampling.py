"""What happens to logits between the transformer and the chosen token."""

from keras import ops

# Finite, so that a row of filtered logits never yields inf - inf; below what
# the lowest temperature makes of any logit.
NEGATIVE_LARGE = -1e38
BLOCK = 128  # codes


def guide(conditional, unconditional, guidance_scale):
    """Classifier-free guidance: `uncond + g (cond - uncond)`.

    `g = 1` is no guidance. The paper writes `(1 + t) cond - t uncond`, which
    is the same with `g = 1 + t`.

    Args:
        conditional: float tensor of logits.
        unconditional: float tensor of logits, without text or with the
            negative text.
        guidance_scale: float or scalar tensor, `g`.

    Returns:
        Float tensor of logits.

    Reference:
        - [Muse, section 2.7](https://arxiv.org/abs/2301.00704)
    """
    return unconditional + guidance_scale * (conditional - unconditional)


def filter_top_k(logits, top_k):
    """Keeps the `top_k` largest logits of each token.

    Codes of equal logit stay together, or go.

    Args:
        logits: float tensor of shape `(..., num_codes)`.
        top_k: int, at least 1.

    Returns:
        Float tensor of the same shape; dropped logits are -1e38.
    """
    top_k = min(top_k, logits.shape[-1])
    threshold = ops.top_k(logits, top_k, sorted=True)[0][..., -1:]
    return ops.where(logits < threshold, NEGATIVE_LARGE, logits)


def filter_top_p(logits, top_p):
    """Keeps the smallest set of codes whose probability reaches `top_p`.

    Codes of equal logit stay together, or go.

    Args:
        logits: float tensor of shape `(..., num_codes)`.
        top_p: float in (0, 1].

    Returns:
        Float tensor of the same shape; dropped logits are -1e38.
    """
    descending = ops.flip(ops.sort(logits, axis=-1), axis=-1)
    probabilities = ops.softmax(descending, axis=-1)
    # Mass of the codes ahead of each one: the first code is always kept.
    mass_ahead = ops.cumsum(probabilities, axis=-1) - probabilities
    kept = ops.where(mass_ahead < top_p, descending, -NEGATIVE_LARGE)
    threshold = ops.min(kept, axis=-1, keepdims=True)
    return ops.where(logits < threshold, NEGATIVE_LARGE, logits)


def sample(logits, gumbel_noise):
    """Draws one code per token from `softmax(logits)` (Gumbel-max).

    Args:
        logits: float tensor of shape `(batch, num_tokens, num_codes)`.
        gumbel_noise: float tensor of the same shape.

    Returns:
        int32 tensor of shape `(batch, num_tokens)`.
    """
    scores = logits + gumbel_noise
    num_codes = scores.shape[-1]
    if num_codes % BLOCK:
        return ops.cast(ops.argmax(scores, axis=-1), "int32")
    # XLA's `argmax` is slow on a processor and its `max` is not: first the
    # block with the best code, then the code in the block.
    blocks = ops.reshape(scores, (*scores.shape[:-1], -1, BLOCK))
    block = ops.argmax(ops.max(blocks, axis=-1), axis=-1)
    inside = ops.take_along_axis(blocks, block[..., None, None], axis=-2)
    code = ops.argmax(inside[..., 0, :], axis=-1)
    return ops.cast(block * BLOCK + code, "int32")


def log_probability(logits, token_ids):
    """`log softmax(logits)` at `token_ids`.

    Args:
        logits: float tensor of shape `(batch, num_tokens, num_codes)`.
        token_ids: int tensor of shape `(batch, num_tokens)`.

    Returns:
        Float tensor of shape `(batch, num_tokens)`.
    """
    chosen = ops.take_along_axis(logits, token_ids[..., None], axis=-1)
    return chosen[..., 0] - ops.logsumexp(logits, axis=-1)
