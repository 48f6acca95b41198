"""Optimizers and schedules of the papers, where Keras has none."""

from keras_muse.optimizers.adafactor import AdafactorMomentum
from keras_muse.optimizers.warmup_cosine import warmup_cosine

__all__ = ["AdafactorMomentum", "warmup_cosine"]
