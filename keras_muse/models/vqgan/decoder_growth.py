"""A larger decoder that starts as good as the one it grew from."""

import numpy as np


def grow_decoder(small, large):
    """Gives a decoder the weights of a smaller one, so that both paint alike.

    Each channel becomes several that are alike, and what read it reads their
    weighted sum, with weights that are drawn at random and sum to 1: so the
    pictures are those of before, and training tells the channels apart. New
    residual blocks add nothing at first.

    Args:
        small: a built `VQGANDecoder`.
        large: a built `VQGANDecoder` of the same levels, with at least as
            many residual blocks and `k` times the channels, `k` an integer.

    Reference:
        - [Net2Net](https://arxiv.org/abs/1511.05641)
    """
    rng = np.random.default_rng(0)
    stages = {stage.name: stage for stage in small.stages}
    for stage in large.stages:
        if stage.name in stages:
            old = stages[stage.name].get_weights()
            shapes = [weight.shape for weight in stage.weights]
            stage.set_weights(
                [widen(x, s, rng) for x, s in zip(old, shapes, strict=True)]
            )
        else:
            for weight in stage.conv_2.weights:
                weight.assign(np.zeros(weight.shape))


def can_grow(small, large):
    """Whether `grow_decoder` keeps the pictures as they are."""
    return (
        large.num_res_blocks >= small.num_res_blocks
        and large.base_channels % small.base_channels == 0
        # The scale of attention's logits depends on the width.
        and not (small.attention_levels or small.use_middle_attention)
    )


def widen(weight, shape, rng):
    """A kernel or a vector for several times the channels."""
    widened = np.repeat(weight, shape[-1] // weight.shape[-1], axis=-1)
    if weight.ndim == 1:
        return widened
    copies = shape[-2] // weight.shape[-2]
    widened = np.repeat(widened, copies, axis=-2)
    # (..., inputs, copies, outputs), what each copy of an input counts
    parts = rng.uniform(
        0.5, 1.5, (*weight.shape[:-1], copies, widened.shape[-1])
    )
    parts /= parts.sum(axis=-2, keepdims=True)
    return widened * parts.reshape(widened.shape)
