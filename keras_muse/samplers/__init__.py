"""How tokens are revealed: value objects that hold the decoding loop."""

from keras_muse.samplers.confidence_sampler import ConfidenceSampler
from keras_muse.samplers.sampler import Sampler

__all__ = ["ConfidenceSampler", "Sampler"]
