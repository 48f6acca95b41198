"""What is trained, and the frozen language models: one public class a file."""

from keras_muse.models.discriminator import Discriminator
from keras_muse.models.minilm_text_encoder import MiniLMTextEncoder
from keras_muse.models.muse_base import MuseBase
from keras_muse.models.muse_super_res import MuseSuperRes
from keras_muse.models.t5_text_encoder import T5TextEncoder
from keras_muse.models.text_encoder import TextEncoder
from keras_muse.models.vqgan_tokenizer import VQGANTokenizer

__all__ = [
    "Discriminator",
    "MiniLMTextEncoder",
    "MuseBase",
    "MuseSuperRes",
    "T5TextEncoder",
    "TextEncoder",
    "VQGANTokenizer",
]
