"""Which text encoder reads which preset."""

from keras_hub.src.utils import preset_utils


def find(preset, base_class):
    """The class that reads a preset, from what its `config.json` says.

    Args:
        preset: string. A name, a directory or a handle.
        base_class: class that the result must be or inherit from.

    Returns:
        Four values: the class, where its files are (a directory or a handle),
        the configuration as a dict, and whether that is a format published by
        others.

    Raises:
        ValueError: if no such class reads the preset.
    """
    encoder_classes = _encoder_classes()
    source = preset
    readers = {}
    for encoder_class in encoder_classes:
        published = encoder_class.presets.get(preset, {})
        source = published.get("directory", source)
        kinds = (encoder_class.__name__, *encoder_class.published_formats)
        if issubclass(encoder_class, base_class):
            readers.update(dict.fromkeys(kinds, encoder_class))
    config = preset_utils.load_json(source)
    # KerasHub has also written its classes as `keras_nlp>...`.
    kind = config.get("registered_name", config.get("model_type"))
    kind = str(kind).rpartition(">")[2]
    if kind not in readers:
        raise ValueError(
            f"`preset` holds a model of type {kind!r}, which "
            f"`{base_class.__name__}` cannot read; it can read "
            f"{sorted(readers)}. Received: preset={preset!r}"
        )
    encoder_class = readers[kind]
    is_published = kind in encoder_class.published_formats
    return encoder_class, source, config, is_published


def _encoder_classes():
    # Imported here: these modules import the base class, which imports us.
    from keras_muse.models.minilm_text_encoder import MiniLMTextEncoder
    from keras_muse.models.t5_text_encoder import T5TextEncoder

    return MiniLMTextEncoder, T5TextEncoder
