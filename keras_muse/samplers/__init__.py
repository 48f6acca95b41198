"""How tokens are revealed: value objects that hold the decoding loop."""

from keras_muse.samplers.amused_sampler import AmusedSampler
from keras_muse.samplers.confidence_sampler import ConfidenceSampler
from keras_muse.samplers.halton_sampler import HaltonSampler
from keras_muse.samplers.registry import describe
from keras_muse.samplers.registry import get
from keras_muse.samplers.remdm_sampler import ReMDMSampler
from keras_muse.samplers.resampling_sampler import ResamplingSampler
from keras_muse.samplers.sampler import Sampler

__all__ = [
    "AmusedSampler",
    "ConfidenceSampler",
    "HaltonSampler",
    "ReMDMSampler",
    "ResamplingSampler",
    "Sampler",
    "describe",
    "get",
]
