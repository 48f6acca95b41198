"""What others have published: which converter reads it, and a model of it."""

import dataclasses
import importlib
import os
import types

from keras_muse.files import hub
from keras_muse.files.damage import reading
from keras_muse.files.json_files import check_file_name
from keras_muse.layers import initializers
from keras_muse.runtime.checks import show

PIPELINE_FILE = "model_index.json"


@dataclasses.dataclass(frozen=True)
class Published:
    """A model that others have published.

    Attributes:
        converter: module that knows the format.
        folder: string. Where in the preset the model is; `""` is its root.
        config: dict. Its configuration.
        place: string. The path of what it was read from.
    """

    converter: types.ModuleType
    folder: str
    config: dict
    place: str

    def constructor_arguments(self):
        """Arguments of the model's constructor, as a dict."""
        with reading(self.place, no_model({})):
            return self.converter.constructor_arguments(self.config)


def find(preset, converters, class_name):
    """The converter that reads a preset, from what its files say.

    Args:
        preset: string. A directory or a handle: a model, or a pipeline of
            `diffusers`, which has a model in each of its folders.
        converters: sequence of strings. Names of modules of this package.
        class_name: string. Name of the class that is to be loaded.

    Returns:
        `Published`, or `None` if the preset is one of this package.

    Raises:
        ValueError: if it is another's, and none of the converters reads it.
    """
    if is_own(preset):
        return None
    modules = _modules(converters)
    found = []
    for folder, config in _configs(preset):
        for converter in modules:
            if converter.recognizes(config):
                place = os.path.join(preset, folder, hub.CONFIG_FILE)
                return Published(converter, folder, config, place)
        kinds = ("_class_name", "model_type", "registered_name")
        found.append(next((config[k] for k in kinds if k in config), None))
    if found:
        raise ValueError(
            f"`preset` has no model that `{class_name}` can read. Received: "
            f"preset={preset!r}, with {', '.join(map(str, found))}"
        )
    for converter in modules:
        config = _read_config(converter, preset)
        if config is not None:
            return Published(converter, "", config, preset)
    return None


def load(cls, preset, found, load_weights, kwargs):
    """A model of what `find` found.

    Args:
        cls: class of the model.
        preset: string. A directory or a handle.
        found: `Published`.
        load_weights: bool.
        kwargs: dict. Constructor arguments to override.
    """
    converter, folder = found.converter, found.folder
    arguments = found.constructor_arguments()
    if hasattr(converter, "tokenizer_arguments") and "vocabulary" not in kwargs:
        arguments.update(converter.tokenizer_arguments(preset, folder))
    with (
        reading(found.place, no_model(kwargs)),
        initializers.skip_random_weights(load_weights),
    ):
        model = cls(**{**arguments, **kwargs})
    if load_weights:
        with reading(preset, "cannot be loaded"):
            converter.load_weights(model, preset, folder)
    return model


def no_model(kwargs):
    """What is the matter where none can be made, of which `kwargs` are part."""
    given = " and ".join(f"{name}={show(x)}" for name, x in kwargs.items())
    return f"describes no model that can be made{' with ' * bool(given)}{given}"


def is_read_by(preset, converters):
    """Whether one of these converters reads a preset."""
    configs = [config for _, config in _configs(preset)]
    return any(
        any(map(converter.recognizes, configs))
        or (not configs and _read_config(converter, preset) is not None)
        for converter in _modules(converters)
    )


def registered_name(preset):
    """What Keras calls the model of a preset; of others, an empty string."""
    if not hub.has_file(preset, hub.CONFIG_FILE):
        return ""
    return str(hub.read_json(preset).get("registered_name", ""))


def is_own(preset):
    """Whether a preset is one of this package."""
    return registered_name(preset).startswith("keras_muse>")


def is_pipeline(preset):
    """Whether a preset is a pipeline of `diffusers`.

    Its index stays where a model of this package was saved over it.
    """
    return hub.has_file(preset, PIPELINE_FILE) and not is_own(preset)


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
        config_file = os.path.join(folder, hub.CONFIG_FILE)
        if hub.has_file(preset, config_file):
            yield folder, hub.read_json(preset, config_file)


def _folders(preset):
    """Where a model may be, the likeliest place first."""
    yield ""
    if is_pipeline(preset):
        index = hub.read_json(preset, PIPELINE_FILE)
        for name, value in index.items():
            if isinstance(value, list):  # a component, not a setting
                check_file_name(name, os.path.join(preset, PIPELINE_FILE))
                yield name
