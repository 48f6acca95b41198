"""Cross-entropy and accuracy on masked tokens only."""

from keras import ops


def masked_cross_entropy(token_ids, logits, mask, label_smoothing=0.0):
    """Cross-entropy of each row, averaged over its masked tokens.

    Args:
        token_ids: int tensor of shape `(batch, num_tokens)`. The true tokens.
        logits: float tensor of shape `(batch, num_tokens, codebook_size)`.
        mask: bool tensor of shape `(batch, num_tokens)`, true where the model
            had to guess; at least one in each row.
        label_smoothing: float in [0, 1). Part of the probability that is
            spread evenly over all codes. Defaults to `0`.

    Returns:
        float32 tensor of shape `(batch,)`. Uniform guessing scores
        `ln(codebook_size)`.

    Reference:
        - [Muse, section 2.3](https://arxiv.org/abs/2301.00704)
    """
    log_p = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    of_truth = ops.take_along_axis(
        log_p, ops.cast(token_ids, "int32")[..., None], axis=-1
    )[..., 0]
    loss = -(1.0 - label_smoothing) * of_truth
    if label_smoothing:
        loss = loss - label_smoothing * ops.mean(log_p, axis=-1)
    return _mean_over_mask(loss, mask)


def masked_accuracy(token_ids, logits, mask):
    """Part of each row's masked tokens whose best guess is right.

    Args:
        token_ids: int tensor of shape `(batch, num_tokens)`.
        logits: float tensor of shape `(batch, num_tokens, codebook_size)`.
        mask: bool tensor of shape `(batch, num_tokens)`.

    Returns:
        float32 tensor of shape `(batch,)` in [0, 1].
    """
    guess = ops.cast(ops.argmax(logits, axis=-1), "int32")
    right = ops.equal(guess, ops.cast(token_ids, "int32"))
    return _mean_over_mask(ops.cast(right, "float32"), mask)


def _mean_over_mask(values, mask):
    mask = ops.cast(mask, "float32")
    return ops.sum(values * mask, axis=1) / ops.sum(mask, axis=1)
