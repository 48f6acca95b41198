"""Data: image-text sources, the bundled emoji, token shards.

Names are resolved on first use, so that grain is imported only by those who
use token shards.
"""

import importlib

_PUBLIC_NAMES = {
    "ImageTextDataset": "keras_muse.data.image_text_dataset",
    "load_emoji": "keras_muse.data.emoji",
    "load_image_text": "keras_muse.data.image_text",
    "read_token_shards": "keras_muse.data.token_shards",
    "write_token_shards": "keras_muse.data.token_shards",
}

__all__ = list(_PUBLIC_NAMES)


def __getattr__(name):
    if name in _PUBLIC_NAMES:
        return getattr(importlib.import_module(_PUBLIC_NAMES[name]), name)
    raise AttributeError(f"module 'keras_muse.data' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
