"""Samplers by name."""

import dataclasses

from keras_muse.runtime.checks import show
from keras_muse.samplers.amused_sampler import AmusedSampler
from keras_muse.samplers.confidence_sampler import ConfidenceSampler
from keras_muse.samplers.halton_sampler import HaltonSampler
from keras_muse.samplers.remdm_sampler import ReMDMSampler
from keras_muse.samplers.resampling_sampler import ResamplingSampler
from keras_muse.samplers.sampler import Sampler

NAMES = {
    "amused": AmusedSampler,
    "confidence": ConfidenceSampler,
    "halton": HaltonSampler,
    "remdm": ReMDMSampler,
    "resampling": ResamplingSampler,
}
# Names of those that draw a picture; the other one is that of `Muse.edit`.
DRAWING = tuple(sorted(set(NAMES) - {"resampling"}))


def get(sampler, argument="sampler", **arguments):
    """A sampler from its name.

    Args:
        sampler: string, `"amused"`, `"confidence"`, `"halton"`, `"remdm"` or
            `"resampling"`; or a `Sampler`, which is returned as it is.
        argument: string. What the caller calls it. Defaults to `"sampler"`.
        **arguments: of the class that a name stands for.

    Returns:
        A `Sampler`.

    Raises:
        ValueError: if there is no sampler of that name, or arguments stand
            beside a `Sampler`.

    Example:
    ```python
    from keras_muse import samplers

    sampler = samplers.get("halton", temperature=0.9)
    ```
    """
    if isinstance(sampler, Sampler):
        if arguments:
            raise ValueError(
                f"`{argument}` must be a name where it has arguments; "
                "`dataclasses.replace` changes a `Sampler`. Received: "
                f"{argument}={show(sampler)}, {arguments}"
            )
        return sampler
    if not isinstance(sampler, str) or sampler not in NAMES:
        raise ValueError(
            f"`{argument}` must be a `Sampler` or one of {sorted(NAMES)}. "
            f"Received: {argument}={show(sampler)}"
        )
    return NAMES[sampler](**arguments)


def describe(sampler):
    """What `get` makes the same sampler of, as JSON knows it.

    Args:
        sampler: a `Sampler` of a class that has a name.

    Returns:
        Dict of `"sampler"`, its name, and of the arguments that are not their
        defaults.

    Raises:
        ValueError: if the class of the sampler has no name.
    """
    names = {cls: name for name, cls in NAMES.items()}
    if type(sampler) not in names:
        raise ValueError(
            f"`sampler` must be of a class with a name, {sorted(NAMES)}. "
            f"Received: {show(sampler)}"
        )
    return {
        "sampler": names[type(sampler)],
        **{
            field.name: getattr(sampler, field.name)
            for field in dataclasses.fields(sampler)
            if getattr(sampler, field.name) != field.default
        },
    }
