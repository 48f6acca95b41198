"""The learning rate of the paper: a linear warm-up, then a cosine."""

import keras

from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_number

PEAK = 1e-4  # of all trainings of the paper


def warmup_cosine(learning_rate, warmup_steps, total_steps):
    """Returns a schedule that climbs to `learning_rate`, then falls to zero.

    `keras.optimizers.schedules.CosineDecay` counts its `decay_steps` after
    the warm-up and names the peak `warmup_target`; this says the same with
    the numbers that papers give.

    Args:
        learning_rate: float. The peak, reached after `warmup_steps`.
        warmup_steps: integer, at least 1. Steps of the linear climb from
            zero. The paper takes 5000 (10000 for the tokenizer).
        total_steps: integer. Steps of the whole training, after which the
            rate stays zero.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`.

    Raises:
        ValueError: if not `1 <= warmup_steps < total_steps`.

    Example:

    ```python
    import keras_muse

    schedule = keras_muse.optimizers.warmup_cosine(1e-4, 5000, 1_500_000)
    optimizer = keras_muse.optimizers.AdafactorMomentum(schedule)
    ```

    Reference:
        - [Chang et al., 2023](https://arxiv.org/abs/2301.00704), Table 4
    """
    learning_rate = check_number(learning_rate, "learning_rate", low=0)
    warmup_steps = check_int(warmup_steps, "warmup_steps")
    total_steps = check_int(total_steps, "total_steps")
    if warmup_steps >= total_steps:
        raise ValueError(
            "`warmup_steps` must be at least 1 and less than `total_steps`. "
            f"Received: warmup_steps={warmup_steps}, total_steps={total_steps}"
        )
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=total_steps - warmup_steps,
        warmup_target=learning_rate,
        warmup_steps=warmup_steps,
    )


def default_learning_rate(total_steps, warmup_steps, optimizer=None):
    """The learning rate of an optimizer that nobody chose.

    Args:
        total_steps: int or `None`. What `compile` was told.
        warmup_steps: int. The paper's. A training of less than ten times as
            many steps warms up for a tenth of them.
        optimizer: what somebody chose in its place, or `None`.

    Returns:
        The paper's schedule over `total_steps`, or its peak where they are not
        known.

    Raises:
        ValueError: if `total_steps` is given together with an optimizer, which
            has its own learning rate, or is no number of steps.
    """
    if total_steps is None:
        return PEAK
    if optimizer is not None:
        raise ValueError(
            "`total_steps` is for the default optimizer; give the one you "
            "choose a schedule, such as `keras_muse.optimizers.warmup_cosine`. "
            f"Received: total_steps={total_steps!r}, optimizer={optimizer!r}"
        )
    total_steps = check_int(total_steps, "total_steps", low=2)
    warmup_steps = max(1, min(warmup_steps, total_steps // 10))
    return warmup_cosine(PEAK, warmup_steps, total_steps)
