"""Samplers by name."""

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


def get(sampler, **arguments):
    """A sampler from its name.

    Args:
        sampler: string, `"amused"`, `"confidence"`, `"halton"`, `"remdm"` or
            `"resampling"`; or a `Sampler`, which is returned as it is.
        **arguments: of the class that a name stands for.

    Returns:
        A `Sampler`.

    Raises:
        ValueError: if there is no sampler of that name.

    Example:
    ```python
    from keras_muse import samplers

    sampler = samplers.get("halton", temperature=0.9)
    ```
    """
    if isinstance(sampler, Sampler) and not arguments:
        return sampler
    if not isinstance(sampler, str) or sampler not in NAMES:
        raise ValueError(
            f"`sampler` must be a `Sampler` or one of {sorted(NAMES)}. "
            f"Received: sampler={sampler!r}"
        )
    return NAMES[sampler](**arguments)
