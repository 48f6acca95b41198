"""Checks of the settings that all samplers have."""

import numpy as np

from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_number


def check_name(argument, name, table):
    if not isinstance(name, str) or name not in table:
        raise ValueError(
            f"`{argument}` must be one of {sorted(table)}. "
            f"Received: {argument}={name!r}"
        )


def check_guidance(guidance_schedule, guidance_power, guidance_interval):
    if guidance_power is not None:
        check_number(guidance_power, "guidance_power", 0, open_at="low")
        if guidance_schedule != "power_cosine":
            raise ValueError(
                "`guidance_power` belongs to guidance_schedule="
                f"'power_cosine'. Received: guidance_power={guidance_power}, "
                f"guidance_schedule={guidance_schedule!r}"
            )
    if guidance_interval is not None:
        valid = np.shape(guidance_interval) == (2,)
        if (
            not valid
            or not 0 <= guidance_interval[0] < guidance_interval[1] <= 1
        ):
            raise ValueError(
                "`guidance_interval` must be a pair 0 <= start < end <= 1. "
                f"Received: guidance_interval={guidance_interval}"
            )


def check_filters(temperature, top_k, top_p):
    """The three, as Python numbers; `top_k=1` is greedy."""
    temperature = check_number(temperature, "temperature", 0, open_at="low")
    if top_k is not None:
        top_k = check_int(top_k, "top_k")
    if top_p is not None:
        top_p = check_number(top_p, "top_p", 0, 1, open_at="low")
    return temperature, top_k, top_p


def as_pair(interval):
    """An interval as a tuple, which can be hashed, or `None`."""
    return None if interval is None else tuple(interval)
