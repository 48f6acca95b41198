"""Muse in Keras: text to image with masked transformers.

Public names are resolved on first use, so that `import keras_muse` is quick
and imports no backend.
"""

import importlib

from keras_muse.version import __version__

_SUBMODULES = (
    "data",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "samplers",
    "training",
)

# Public name -> the module that defines it.
_PUBLIC_NAMES = {
    "ConfidenceSampler": "keras_muse.samplers.confidence_sampler",
    "Discriminator": "keras_muse.models.discriminator",
    "MiniLMTextEncoder": "keras_muse.models.minilm_text_encoder",
    "Muse": "keras_muse.muse",
    "MuseBase": "keras_muse.models.muse_base",
    "MuseSuperRes": "keras_muse.models.muse_super_res",
    "T5TextEncoder": "keras_muse.models.t5_text_encoder",
    "VQGANTokenizer": "keras_muse.models.vqgan_tokenizer",
}

__all__ = ["__version__", *_PUBLIC_NAMES, *_SUBMODULES]


def __getattr__(name):
    if name in _SUBMODULES:
        return importlib.import_module(f"keras_muse.{name}")
    if name in _PUBLIC_NAMES:
        return getattr(importlib.import_module(_PUBLIC_NAMES[name]), name)
    raise AttributeError(f"module 'keras_muse' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
