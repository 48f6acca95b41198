"""Captioned pictures, the bundled emoji, and token shards."""

from keras_muse.lazy import lazy_names

_MODULES = {
    "ImageTextDataset": "keras_muse.data.image_text_dataset",
    "load_emoji": "keras_muse.data.emoji",
    "load_image_text": "keras_muse.data.image_text",
    "read_token_shards": "keras_muse.data.token_shards.read",
    "write_token_shards": "keras_muse.data.token_shards.write",
}

__all__ = list(_MODULES)  # noqa: PLE0604
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
