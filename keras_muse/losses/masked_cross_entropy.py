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
    loss = token_cross_entropy(token_ids, logits, label_smoothing)
    return mean_over_mask(loss, mask)


def token_cross_entropy(token_ids, logits, label_smoothing=0.0):
    """Cross-entropy of each token, masked or not.

    Args:
        token_ids: int tensor of shape `(batch, num_tokens)`. The true tokens.
        logits: float tensor of shape `(batch, num_tokens, codebook_size)`.
        label_smoothing: as in `masked_cross_entropy`. Defaults to `0`.

    Returns:
        float32 tensor of shape `(batch, num_tokens)`.
    """
    logits = ops.cast(logits, "float32")
    # Sums and single logits alone: the logarithms of all probabilities would
    # be one more tensor of the size of the logits.
    normalizer = ops.logsumexp(logits, axis=-1)
    of_truth = ops.take_along_axis(
        logits, ops.cast(token_ids, "int32")[..., None], axis=-1
    )[..., 0]
    target = of_truth
    if label_smoothing:
        of_all = ops.mean(logits, axis=-1)
        target = (1 - label_smoothing) * of_truth + label_smoothing * of_all
    return normalizer - target


def masked_accuracy(token_ids, logits, mask):
    """Part of each row's masked tokens whose best guess is right.

    Args:
        token_ids: int tensor of shape `(batch, num_tokens)`.
        logits: float tensor of shape `(batch, num_tokens, codebook_size)`.
        mask: bool tensor of shape `(batch, num_tokens)`.

    Returns:
        float32 tensor of shape `(batch,)` in [0, 1].
    """
    return mean_over_mask(is_best_guess(token_ids, logits), mask)


def is_best_guess(token_ids, logits):
    """Whether the best guess of each token is right, as float32 0 or 1."""
    guess = ops.cast(ops.argmax(logits, axis=-1), "int32")
    right = ops.equal(guess, ops.cast(token_ids, "int32"))
    return ops.cast(right, "float32")


def mean_over_mask(values, mask):
    """Mean of each row over its masked tokens, of shape `(batch,)`."""
    mask = ops.cast(mask, "float32")
    return ops.sum(values * mask, axis=1) / ops.sum(mask, axis=1)


def mean_over_batch(values, mask, mean_count):
    """Mean over the true places of `mask` in a batch, a scalar.

    Args:
        values: float tensor of shape `(rows, num_tokens)`, of a batch or of an
            equal part of one. The mean of the parts is that of the batch.
        mask: bool tensor of the same shape.
        mean_count: float tensor of shape `(rows, 1)`. Places of a row of the
            whole batch, on average; with none at all, the mean is 0.
    """
    total = ops.sum(values * ops.cast(mask, "float32"))
    return total / ops.maximum(ops.sum(mean_count), 1e-6)
