"""The learning rate of the paper: a linear warm-up, then a cosine."""

import keras

from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_number


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
