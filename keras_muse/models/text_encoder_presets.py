"""Which text encoder reads which preset, and by which converter."""

import dataclasses
import os
import types

import keras
import keras_hub
from keras_hub.src.utils import preset_utils

from keras_muse.converters import sources
from keras_muse.converters import t5_keras_hub
from keras_muse.layers import initializers


@dataclasses.dataclass(frozen=True)
class FoundPreset:
    """How a preset is read.

    Attributes:
        encoder_class: the class that reads it.
        source: string. Where its files are, a directory or a handle.
        folder: string. Where in `source` the encoder is; `""` is its root.
        config: dict. The encoder's `config.json`.
        converter: module that knows the format, or `None` for the package's
            own.
    """

    encoder_class: type
    source: str
    folder: str
    config: dict
    converter: types.ModuleType | None


def find(preset, base_class):
    """The class that reads a preset, from what its `config.json` says.

    Args:
        preset: string. A name, a directory or a handle. A pipeline of
            `diffusers` is read where it has its text encoder.
        base_class: class that the result must be or inherit from.

    Returns:
        `FoundPreset`.

    Raises:
        ValueError: if no such class reads the preset.
    """
    encoder_classes = _encoder_classes()
    source = preset
    for encoder_class in encoder_classes:
        published = encoder_class.presets.get(preset, {})
        source = published.get("directory", source)
    readers = {
        converter: encoder_class
        for encoder_class in encoder_classes
        for converter in encoder_class.converters
        if issubclass(encoder_class, base_class)
    }
    found = sources.find(source, readers, base_class.__name__)
    if found is None:
        return _find_of_keras(preset, source, base_class, readers)
    converter, folder, config = found
    encoder_class = readers[converter.__name__.rpartition(".")[2]]
    return FoundPreset(encoder_class, source, folder, config, converter)


def _find_of_keras(preset, source, base_class, readers):
    """A preset of this package or of KerasHub."""
    config = preset_utils.load_json(source)
    kind = config["registered_name"]
    for encoder_class in _encoder_classes():
        is_own = kind == keras.saving.get_registered_name(encoder_class)
        if is_own and issubclass(encoder_class, base_class):
            return FoundPreset(encoder_class, source, "", config, None)
    if t5_keras_hub.recognizes(config) and "t5_keras_hub" in readers:
        encoder_class = readers["t5_keras_hub"]
        return FoundPreset(encoder_class, source, "", config, t5_keras_hub)
    raise ValueError(
        f"`preset` holds a model of type {kind!r}, which "
        f"`{base_class.__name__}` cannot read; of others it can read "
        f"{sorted(readers)}. Received: preset={preset!r}"
    )


def load(found, load_weights, **kwargs):
    """An encoder from a `FoundPreset`; see `TextEncoder.from_preset`."""
    with initializers.skip_random_weights(load_weights):
        if found.converter is None:
            return _load_own(found, load_weights, **kwargs)
        return _load_published(found, load_weights, **kwargs)


def _load_published(found, load_weights, **kwargs):
    converter, place = found.converter, (found.source, found.folder)
    arguments = converter.constructor_arguments(found.config)
    if "vocabulary" not in kwargs:
        arguments.update(converter.tokenizer_arguments(*place))
    encoder = found.encoder_class(**{**arguments, **kwargs})
    if load_weights:
        converter.load_weights(encoder, *place)
    return encoder


def _load_own(found, load_weights, **kwargs):
    source = found.source
    saved_dtype = found.config["config"].get("dtype") or {}
    if saved_dtype.get("class_name") == "DTypePolicyMap":
        # KerasHub drops the policies of a quantized backbone.
        kwargs.setdefault("dtype", saved_dtype)
    encoder = keras_hub.models.Backbone.from_preset(
        source, load_weights, **kwargs
    )
    assets = preset_utils.TOKENIZER_ASSET_DIR
    path = os.path.join(assets, encoder.vocabulary_file)
    if preset_utils.check_file_exists(source, path):
        vocabulary = preset_utils.get_file(source, path)
        encoder.load_assets(os.path.dirname(vocabulary))
    return encoder


def _encoder_classes():
    # Imported here: these modules import the base class, which imports us.
    from keras_muse.models.clip_text_encoder import CLIPTextEncoder
    from keras_muse.models.minilm_text_encoder import MiniLMTextEncoder
    from keras_muse.models.t5_text_encoder import T5TextEncoder

    return CLIPTextEncoder, MiniLMTextEncoder, T5TextEncoder
