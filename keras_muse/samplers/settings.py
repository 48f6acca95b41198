"""Checks of the settings that all samplers have."""

import math

from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.checks import show

# Logits divided by less would overflow.
MIN_TEMPERATURE = 1e-6


def check_guidance(guidance_schedule, guidance_power, guidance_interval):
    """The two of a guidance schedule, as Python numbers or `None`."""
    if guidance_power is not None:
        guidance_power = check_number(
            guidance_power, "guidance_power", 0, open_at="low"
        )
        if guidance_schedule != "power_cosine":
            raise ValueError(
                "`guidance_power` belongs to guidance_schedule="
                f"'power_cosine'. Received: guidance_power={guidance_power}, "
                f"guidance_schedule={guidance_schedule!r}"
            )
    interval = as_pair(guidance_interval)
    if interval is not None and not (0 <= interval[0] < interval[1] <= 1):
        raise ValueError(
            "`guidance_interval` must be a pair 0 <= start < end <= 1. "
            f"Received: guidance_interval={show(guidance_interval)}"
        )
    return guidance_power, interval


def check_filters(temperature, top_k, top_p):
    """The three, as Python numbers; `top_k=1` is greedy."""
    temperature = check_number(temperature, "temperature", MIN_TEMPERATURE)
    if top_k is not None:
        top_k = check_int(top_k, "top_k")
    if top_p is not None:
        top_p = check_number(top_p, "top_p", 0, 1, open_at="low")
    return temperature, top_k, top_p


def as_pair(interval):
    """An interval as two floats, which can be hashed; what is none, as NaN."""
    if interval is None:
        return None
    try:
        start, end = (check_number(x, "interval") for x in interval)
    except Exception:  # each library has its own
        return math.nan, math.nan
    return start, end
