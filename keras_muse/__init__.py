"""Muse in Keras: text to image with masked transformers.

Public names are resolved on first use, so that `import keras_muse` is quick
and imports no backend. Keras knows the classes all the same.
"""

from keras_muse.lazy import lazy_names
from keras_muse.runtime import registered
from keras_muse.runtime.home import ensure_home
from keras_muse.version import __version__

_MODULES = {
    "AmusedSampler": "keras_muse.samplers.amused_sampler",
    "CLIPTextEncoder": "keras_muse.models.text_encoders.clip_text_encoder",
    "ConfidenceSampler": "keras_muse.samplers.confidence_sampler",
    "Discriminator": "keras_muse.models.vqgan.discriminator",
    "HaltonSampler": "keras_muse.samplers.halton_sampler",
    "MiniLMTextEncoder": "keras_muse.models.text_encoders.minilm_text_encoder",
    "Muse": "keras_muse.muse.muse",
    "MuseBase": "keras_muse.models.transformers.muse_base",
    "MuseSuperRes": "keras_muse.models.transformers.muse_super_res",
    "ReMDMSampler": "keras_muse.samplers.remdm_sampler",
    "T5TextEncoder": "keras_muse.models.text_encoders.t5_text_encoder",
    "UViTBase": "keras_muse.models.transformers.uvit_base",
    "VQGANTokenizer": "keras_muse.models.vqgan.vqgan_tokenizer",
    "converters": "keras_muse.converters",
    "data": "keras_muse.data",
    "evaluation": "keras_muse.evaluation",
    "layers": "keras_muse.layers",
    "losses": "keras_muse.losses",
    "metrics": "keras_muse.metrics",
    "models": "keras_muse.models",
    "ops": "keras_muse.ops",
    "optimizers": "keras_muse.optimizers",
    "read_parameters": "keras_muse.muse.parameters",
    "samplers": "keras_muse.samplers",
    "train": "keras_muse.recipes.train",
    "training": "keras_muse.training",
}

ensure_home()  # before KerasHub asks for one

__all__ = ["__version__", *_MODULES]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
registered.make_known()
