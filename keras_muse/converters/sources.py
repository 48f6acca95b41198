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
    modules = [
        importlib.import_module(f"keras_muse.converters.{name}")
        for name in converters
    ]
    found = []
    for folder in _folders(preset):
        config_file = os.path.join(folder, preset_utils.CONFIG_FILE)
        if not preset_utils.check_file_exists(preset, config_file):
            continue
        config = preset_utils.load_json(preset, config_file)
        if "registered_name" in config:
            return None
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
        # Some were published without a `config.json`.
        if hasattr(converter, "read_config"):
            config = converter.read_config(preset)
            if config is not None:
                return converter, "", config
    return None


def is_pipeline(preset):
    """Whether a preset is a pipeline of `diffusers`."""
    return preset_utils.check_file_exists(preset, PIPELINE_FILE)


def _folders(preset):
    """Where a model may be, the likeliest place first."""
    yield ""
    if is_pipeline(preset):
        index = preset_utils.load_json(preset, PIPELINE_FILE)
        for name, value in index.items():
            if isinstance(value, list):  # a component, not a setting
                yield name
