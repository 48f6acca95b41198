"""Frozen language models: prompts to a vector a token.

To import one is to make it known to `TextEncoder.from_preset`.
"""

from keras_muse.models.text_encoders.clip_text_encoder import CLIPTextEncoder
from keras_muse.models.text_encoders.minilm_text_encoder import (
    MiniLMTextEncoder,
)
from keras_muse.models.text_encoders.t5_text_encoder import T5TextEncoder

__all__ = ["CLIPTextEncoder", "MiniLMTextEncoder", "T5TextEncoder"]
