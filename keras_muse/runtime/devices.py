"""What a machine computes on."""

import importlib

import keras


def on_processor():
    """Whether the backend at hand has no accelerator to compute on."""
    backend = keras.config.backend()
    leaf = importlib.import_module(f"keras_muse.runtime._{backend}")
    return leaf.on_processor()
