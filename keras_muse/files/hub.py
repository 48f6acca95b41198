"""The files of a preset, in a directory or behind a handle.

KerasHub finds and fetches them; its private module `preset_utils` is imported
here and nowhere else, and only when it is needed: it takes seconds.
"""

import os

from keras_muse.files.damage import reading
from keras_muse.files.json_files import check_entries
from keras_muse.files.json_files import check_file_name
from keras_muse.files.json_files import read_object

CONFIG_FILE = "config.json"
METADATA_FILE = "metadata.json"
WEIGHTS_FILE = "model.weights.h5"
WEIGHTS_INDEX_FILE = "model.weights.json"
SAFETENSORS_FILE = "model.safetensors"
TOKENIZER_DIRECTORY = "assets/tokenizer"


def has_file(preset, path):
    """Whether a preset has a file.

    Args:
        preset: string. A directory, or a handle such as `hf://user/model`.
        path: string. The file's place in it.

    Raises:
        ValueError: if a hub cannot be reached, and nothing of the preset has
            been fetched before.
    """
    try:
        _get_file(preset, path)
    except FileNotFoundError:
        return False
    return True


def local_file(preset, path):
    """The local path of a file of a preset, fetched where that is needed.

    Raises:
        ValueError: if it is no regular file: a pipe is waited for, for ever.
    """
    local_path = _get_file(preset, path)
    if os.path.exists(local_path) and not os.path.isfile(local_path):
        raise ValueError(
            f"`{path}` of `preset` is no regular file. Received: "
            f"preset={preset!r}"
        )
    return local_path


def read_json(preset, path=CONFIG_FILE, **types):
    """A file of a preset that must hold a JSON object, as a dict.

    Args:
        preset: string. A directory or a handle.
        path: string. The file's place in it.
        **types: types by the names of entries that must be there.
    """
    try:
        return read_object(local_file(preset, path), **types)
    except ValueError as error:
        raise ValueError(
            f"The file `{path}` of `preset` is damaged: {error}. Received: "
            f"preset={preset!r}"
        ) from error


def loader(preset):
    """KerasHub's loader of a preset of Keras."""
    return _preset_utils().get_preset_loader(preset)


def weight_files(preset):
    """Local paths of the weights of a preset of Keras, fetched if need be.

    Returns:
        List of paths: a file; or an index, and all the files that it names.
    """
    if has_file(preset, WEIGHTS_FILE):
        return [local_file(preset, WEIGHTS_FILE)]
    if not has_file(preset, WEIGHTS_INDEX_FILE):
        raise ValueError(
            f"`preset` has neither `{WEIGHTS_FILE}` nor "
            f"`{WEIGHTS_INDEX_FILE}`. Received: preset={preset!r}"
        )
    files = [local_file(preset, WEIGHTS_INDEX_FILE)]
    shards = weight_map(preset, WEIGHTS_INDEX_FILE).values()
    for name in sorted(set().union(*shards)):
        with reading(os.path.join(preset, name)):
            files.append(local_file(preset, name))
    return files


def weight_map(preset, index):
    """What an index of weights says: lists of files by the names of tensors.

    Args:
        preset: string. A directory or a handle.
        index: string. The place of the index, which the files are beside.
    """
    path = local_file(preset, index)
    files = {}
    contents = read_json(preset, index, weight_map=dict)
    for name, names in contents["weight_map"].items():
        files[name] = [names] if isinstance(names, str) else names
        check_entries(files, path, **{name: list})
        for one in files[name]:
            check_file_name(one, path)
    return files


def load_weights(model, path):
    """Loads weights of Keras into a model that has not been used yet."""
    # JAX would keep both the old and the new.
    _preset_utils().jax_memory_cleanup(model)
    model.load_weights(path)


def saver(directory):
    """KerasHub's writer of a preset."""
    return _preset_utils().get_preset_saver(directory)


def _get_file(preset, path):
    """The local path; where there is no network, that is not kept quiet."""
    try:
        return _preset_utils().get_file(preset, path)
    except FileNotFoundError as error:
        # KerasHub says of all that it lacks that it does not exist.
        if not _is_out_of_reach(preset, error.__cause__):
            raise
        reason = error.__cause__
    except OSError as error:  # as all errors of connections
        reason = error
    raise ValueError(
        "`preset` cannot be fetched, perhaps for want of a network: "
        f"{' '.join(str(reason).split())[:300]}. Received: preset={preset!r}"
    ) from reason


def _is_out_of_reach(preset, cause):
    """Whether Hugging Face's hub was not asked, and no copy is here."""
    if not preset.startswith("hf://"):
        return False
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    if not isinstance(cause, LocalEntryNotFoundError):
        return False
    try:
        huggingface_hub.snapshot_download(
            preset.removeprefix("hf://"), local_files_only=True
        )
    except LocalEntryNotFoundError:
        return True
    return False


def _preset_utils():
    from keras_hub.src.utils import preset_utils

    return preset_utils
