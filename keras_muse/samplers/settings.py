"""Checks of the settings that all samplers have."""


def check_name(argument, name, table):
    if name not in table:
        raise ValueError(
            f"`{argument}` must be one of {sorted(table)}. "
            f"Received: {argument}={name!r}"
        )


def check_guidance(guidance_schedule, guidance_power, guidance_interval):
    if guidance_power is not None and (
        guidance_schedule != "power_cosine" or guidance_power <= 0
    ):
        raise ValueError(
            "`guidance_power` must be above 0, and belongs to "
            "guidance_schedule='power_cosine'. Received: guidance_power="
            f"{guidance_power}, guidance_schedule={guidance_schedule!r}"
        )
    if guidance_interval is not None:
        start, end = guidance_interval
        if not 0 <= start < end <= 1:
            raise ValueError(
                "`guidance_interval` must be a pair 0 <= start < end <= 1. "
                f"Received: guidance_interval={guidance_interval}"
            )


def check_filters(temperature, top_k, top_p):
    if temperature <= 0:
        raise ValueError(
            "`temperature` must be above 0; `top_k=1` is greedy. "
            f"Received: temperature={temperature}"
        )
    if top_k is not None and top_k < 1:
        raise ValueError(f"`top_k` must be at least 1. Received: top_k={top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"`top_p` must be in (0, 1]. Received: top_p={top_p}")


def as_pair(interval):
    """An interval as a tuple, which can be hashed, or `None`."""
    return None if interval is None else tuple(interval)
