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
    """Fraction still masked, falling from 1 to 0: as many at every step.

    Args:
        progress: float or array in [0, 1]. Part of the steps that is done.

    Returns:
        Float or array in [0, 1].
    """
    return 1.0 - np.asarray(progress, "float64")


def arccos(progress):
    """Fraction still masked: about as many at each step, far more at the last.

    Published code of masked transformers often means this one where it says
    cosine.

    Args:
        progress: float or array in [0, 1]. Part of the steps that is done.

    Returns:
        Float or array in [0, 1].
    """
    return 2 / np.pi * np.arccos(progress)


def square(progress):
    """Fraction still masked, `1 - progress^2`.

    Args:
        progress: float or array in [0, 1]. Part of the steps that is done.

    Returns:
        Float or array in [0, 1].
    """
    return 1.0 - np.square(progress)


def cubic(progress):
    """Fraction still masked, `1 - progress^3`: fewer yet at the start.

    Args:
        progress: float or array in [0, 1]. Part of the steps that is done.

    Returns:
        Float or array in [0, 1].
    """
    return 1.0 - np.power(progress, 3)


def sqrt(progress):
    """Fraction still masked, `1 - sqrt(progress)`: most tokens first.

    Args:
        progress: float or array in [0, 1]. Part of the steps that is done.

    Returns:
        Float or array in [0, 1].
    """
    return 1.0 - np.sqrt(progress)


MASK_SCHEDULES = {
    "arccos": arccos,
    "cosine": cosine,
    "cubic": cubic,
    "linear": linear,
    "sqrt": sqrt,
    "square": square,
}
GUIDANCE_SCHEDULES = ("constant", "linear", "power_cosine")


def num_masked_per_step(num_editable, num_steps, mask_schedule="cosine"):
    """How many tokens of each row stay masked after each decoding step.

    Each step reveals at least one token, and the last step reveals what is
    left. Only if a row has fewer editable tokens than there are steps, some
    steps reveal none of it: its last tokens still come with the last step,
    where guidance is at its scale.

    Args:
        num_editable: int array of shape `(batch,)`. Tokens that are masked at
            the start, counted row by row.
        num_steps: int. Number of decoding steps, at least 1.
        mask_schedule: string. A key of `MASK_SCHEDULES`. Defaults to
            `"cosine"`.

    Returns:
        int32 array of shape `(num_steps, batch)`.
    """
    schedule = MASK_SCHEDULES[mask_schedule]
    num_editable = np.asarray(num_editable, "int64")  # (batch,)
    # What each step must reveal.
    at_least = (num_editable >= num_steps).astype("int64")
    masked, plan = num_editable, []
    for step in range(num_steps):
        # For each later step as many; one for the last in any case.
        to_come = np.maximum(at_least * (num_steps - 1 - step), 1)
        # 1e-9: cos(pi / 3) is one rounding error below a half.
        target = np.floor(
            num_editable * schedule((step + 1) / num_steps) + 1e-9
        )
        masked = np.minimum(np.maximum(target, to_come), masked - at_least)
        masked = np.maximum(masked, 0)
        plan.append(masked)
    plan[-1] = np.zeros_like(num_editable)
    return np.stack(plan).astype("int32")


def guidance_per_step(
    guidance_scale,
    num_steps,
    guidance_schedule="linear",
    power=3.0,
    interval=(0.0, 1.0),
):
    """The guidance scale of each decoding step.

    Args:
        guidance_scale: float. The scale `g` of the last step; 1 is no
            guidance.
        num_steps: int. Number of decoding steps.
        guidance_schedule: string. `"linear"` ramps from 1 to
            `guidance_scale`, so that the first tokens are drawn freely;
            `"power_cosine"` starts later and ends flat; `"constant"` is at
            `guidance_scale` from the start. Defaults to `"linear"`.
        power: float. Exponent of `"power_cosine"`. Defaults to `3`.
        interval: pair of floats. The scale is 1 where the part of the steps
            that is done before a step is not in `[start, end)`. Defaults to
            `(0, 1)`, all steps.

    Returns:
        float32 array of shape `(num_steps,)`.

    Reference:
        - [Muse, section 2.7](https://arxiv.org/abs/2301.00704): linear
        - [Gao et al., 2023](https://arxiv.org/abs/2303.14389): power-cosine
        - [Kynkaanniemi et al., 2024](https://arxiv.org/abs/2404.07724):
          interval
    """
    steps = np.arange(num_steps)
    # A single step is the last one.
    ramp = steps / (num_steps - 1) if num_steps > 1 else np.ones(1)
    if guidance_schedule == "constant":
        ramp = np.ones(num_steps)
    elif guidance_schedule == "power_cosine":
        ramp = (1 - np.cos(np.pi * ramp**power)) / 2
    done = steps / num_steps
    ramp = np.where((done >= interval[0]) & (done < interval[1]), ramp, 0)
    return (1.0 + (guidance_scale - 1.0) * ramp).astype("float32")
