"""Losses of the tokenizer and of the masked transformers."""

from keras_muse.losses.adversarial import AdversarialLoss
from keras_muse.losses.lpips import LPIPS
from keras_muse.losses.masked_cross_entropy import masked_accuracy
from keras_muse.losses.masked_cross_entropy import masked_cross_entropy

__all__ = [
    "AdversarialLoss",
    "LPIPS",
    "masked_accuracy",
    "masked_cross_entropy",
]
