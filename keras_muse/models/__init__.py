"""What is trained, and the frozen language models: one public class a file."""

from keras_muse.lazy import lazy_names

_MODULES = {
    "CLIPTextEncoder": "keras_muse.models.text_encoders.clip_text_encoder",
    "Discriminator": "keras_muse.models.vqgan.discriminator",
    "MiniLMTextEncoder": "keras_muse.models.text_encoders.minilm_text_encoder",
    "MuseBase": "keras_muse.models.transformers.muse_base",
    "MuseSuperRes": "keras_muse.models.transformers.muse_super_res",
    "PictureTextScorer": "keras_muse.scorers.picture_text_scorer",
    "T5TextEncoder": "keras_muse.models.text_encoders.t5_text_encoder",
    "TextEncoder": "keras_muse.models.text_encoders.text_encoder",
    "UViTBase": "keras_muse.models.transformers.uvit_base",
    "VQGANTokenizer": "keras_muse.models.vqgan.vqgan_tokenizer",
}

__all__ = list(_MODULES)  # noqa: PLE0604
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
