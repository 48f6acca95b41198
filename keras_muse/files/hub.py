"""The files of a preset, in a directory or behind a handle.

KerasHub finds and fetches them; its private module `preset_utils` is imported
here and nowhere else, and only when it is needed: it takes seconds.
"""

import json
import os

CONFIG_FILE = "config.json"
METADATA_FILE = "metadata.json"
WEIGHTS_FILE = "model.weights.h5"
WEIGHTS_INDEX_FILE = "model.weights.json"
SAFETENSORS_FILE = "model.safetensors"
SAFETENSORS_INDEX_FILE = "model.safetensors.index.json"
TOKENIZER_DIRECTORY = "assets/tokenizer"


def has_file(preset, path):
    """Whether a preset has a file.

    Args:
        preset: string. A directory, or a handle such as `hf://user/model`.
        path: string. The file's place in it.
    """
    return _preset_utils().check_file_exists(preset, path)


def local_file(preset, path):
    """The local path of a file of a preset, fetched where that is needed.

    Raises:
        ValueError: if it is no regular file: a pipe is waited for, for ever.
    """
    local_path = _preset_utils().get_file(preset, path)
    if os.path.exists(local_path) and not os.path.isfile(local_path):
        raise ValueError(
            f"`{path}` of `preset` is no regular file. Received: "
            f"preset={preset!r}"
        )
    return local_path


def read_json(preset, path=CONFIG_FILE):
    """A file of a preset that must hold a JSON object, as a dict."""
    local_path = local_file(preset, path)
    try:
        with open(local_path, encoding="utf-8") as file:
            contents = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"The file `{path}` of `preset` is no JSON: {error}. Received: "
            f"preset={preset!r}"
        ) from error
    if not isinstance(contents, dict):
        raise ValueError(
            f"The file `{path}` of `preset` must hold a JSON object. "
            f"Received: preset={preset!r}, with a {type(contents).__name__}"
        )
    return contents


def loader(preset):
    """KerasHub's loader of a preset of Keras."""
    return _preset_utils().get_preset_loader(preset)


def saver(directory):
    """KerasHub's writer of a preset."""
    return _preset_utils().get_preset_saver(directory)


def _preset_utils():
    from keras_hub.src.utils import preset_utils

    return preset_utils
