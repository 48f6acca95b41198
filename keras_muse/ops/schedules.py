"""Schedules of a sampler: how much is masked, how strong is guidance.

They run on the host, in numpy's float64, when a sampler plans its steps:
`floor(256 * cos(pi / 3))` must be 128, and in float32 it is 127.
"""

import numpy as np


def cosine(progress):
    """Fraction still masked, falling from 1 to 0: few tokens first, many last.

    Args:
        progress: float or array in [0, 1]. Part of the steps that is done.

    Returns:
        Float or array in [0, 1].

    Reference:
        - [Muse, section 2.8](https://arxiv.org/abs/2301.00704)
    """
    return np.cos(np.pi / 2 * progress)


def linear(progress):
    """Fraction still masked, falling from 1 to 0: as many at every step."""
    return 1.0 - np.asarray(progress, "float64")


MASK_SCHEDULES = {"cosine": cosine, "linear": linear}
GUIDANCE_SCHEDULES = ("constant", "linear")


def num_masked_per_step(num_editable, num_steps, mask_schedule="cosine"):
    """How many tokens of each row stay masked after each decoding step.

    Each step reveals at least one token, and the last step reveals what is
    left. A row with fewer editable tokens than there are steps is complete
    before the last step.

    Args:
        num_editable: int array of shape `(batch,)`. Tokens that are masked at
            the start, counted row by row.
        num_steps: int. Number of decoding steps, at least 1.
        mask_schedule: string. `"cosine"` or `"linear"`.

    Returns:
        int32 array of shape `(num_steps, batch)`.
    """
    schedule = MASK_SCHEDULES[mask_schedule]
    num_editable = np.asarray(num_editable, "int64")  # (batch,)
    masked, plan = num_editable, []
    for step in range(num_steps):
        # 1e-9: cos(pi / 3) is one rounding error below a half.
        target = np.floor(
            num_editable * schedule((step + 1) / num_steps) + 1e-9
        )
        # Cut to [1, masked - 1]: the steps after this one need a token each,
        # this one must reveal at least one.
        masked = np.minimum(np.maximum(target, 1), masked - 1)
        masked = np.maximum(masked, 0)
        plan.append(masked)
    plan[-1] = np.zeros_like(num_editable)
    return np.stack(plan).astype("int32")


def guidance_per_step(guidance_scale, num_steps, guidance_schedule="linear"):
    """The guidance scale of each decoding step.

    Args:
        guidance_scale: float. The scale `g` of the last step; 1 is no
            guidance.
        num_steps: int. Number of decoding steps.
        guidance_schedule: string. `"linear"` ramps from 1 to
            `guidance_scale`, so that the first tokens are drawn freely;
            `"constant"` does not.

    Returns:
        float32 array of shape `(num_steps,)`.

    Reference:
        - [Muse, section 2.7](https://arxiv.org/abs/2301.00704)
    """
    if guidance_schedule == "constant" or num_steps == 1:
        return np.full(num_steps, guidance_scale, "float32")
    ramp = np.arange(num_steps) / (num_steps - 1)
    return (1.0 + (guidance_scale - 1.0) * ramp).astype("float32")
