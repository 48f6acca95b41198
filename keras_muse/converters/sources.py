"""Which converter reads what others have published."""

import importlib
import os

from keras_hub.src.utils import preset_utils

PIPELINE_FILE = "model_index.json"


def find(preset, converters, class_name):
    """The converter that reads a preset, from what its files say.

    Args:
        preset: string. A directory or a handle: a model, or a pipeline of
            `diffusers`, which has a model in each of its folders.
        converters: sequence of strings. Names of modules of this package.
        class_name: string. Name of the class that is to be loaded.

    Returns:
        The converter, the folder of the model in the preset, and the model's
        configuration; or `None` if the preset is one of Keras.

    Raises:
        ValueError: if it is another's, and none of the converters reads it.
    """
    if is_of_keras(preset):
        return None
    modules = _modules(converters)
    found = []
    for folder, config in _configs(preset):
        for converter in modules:
            if converter.recognizes(config):
                return converter, folder, config
        found.append(config.get("_class_name", config.get("model_type")))
    if found:
        raise ValueError(
            f"`preset` has no model that `{class_name}` can read. Received: "
            f"preset={preset!r}, with {', '.join(map(str, found))}"
        )
    for converter in modules:
        config = _read_config(converter, preset)
        if config is not None:
            return converter, "", config
    return None


def is_read_by(preset, converters):
    """Whether one of these converters reads a preset."""
    configs = [config for _, config in _configs(preset)]
    return any(
        any(map(converter.recognizes, configs))
        or (not configs and _read_config(converter, preset) is not None)
        for converter in _modules(converters)
    )


def is_of_keras(preset):
    """Whether a preset is one of Keras already."""
    if not preset_utils.check_file_exists(preset, preset_utils.CONFIG_FILE):
        return False
    return "registered_name" in preset_utils.load_json(preset)


def is_pipeline(preset):
    """Whether a preset is a pipeline of `diffusers`."""
    return preset_utils.check_file_exists(preset, PIPELINE_FILE)


def _modules(names):
    return [
        importlib.import_module(f"keras_muse.converters.{name}")
        for name in names
    ]


def _read_config(converter, preset):
    """A configuration of what was published without a `config.json`."""
    if not hasattr(converter, "read_config"):
        return None
    return converter.read_config(preset)


def _configs(preset):
    """The folders with a `config.json`, and what it says."""
    for folder in _folders(preset):
        config_file = os.path.join(folder, preset_utils.CONFIG_FILE)
        if preset_utils.check_file_exists(preset, config_file):
            yield folder, preset_utils.load_json(preset, config_file)


def _folders(preset):
    """Where a model may be, the likeliest place first."""
    yield ""
    if is_pipeline(preset):
        index = preset_utils.load_json(preset, PIPELINE_FILE)
        for name, value in index.items():
            if isinstance(value, list):  # a component, not a setting
                yield name
