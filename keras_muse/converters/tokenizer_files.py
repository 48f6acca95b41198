"""Where a published text encoder keeps its tokenizer."""

import os

from keras_muse.files import hub


def find(preset, folder, names):
    """The local path of a tokenizer's file, fetched if need be.

    It lies beside the model or, as in the pipelines of `diffusers`, in the
    folder `tokenizer` next to the model's.

    Args:
        preset: string. A directory or a handle.
        folder: string. Where in the preset the model is.
        names: sequence of strings. Names of the file, the preferred first.

    Returns:
        string, or `None` if no such file exists.
    """
    folders = [folder]
    if folder or os.path.isdir(preset):  # a handle has nothing next to it
        folders.append(os.path.normpath(os.path.join(folder, "../tokenizer")))
    for folder in folders:
        for name in names:
            path = os.path.join(folder, name)
            if hub.has_file(preset, path):
                return hub.local_file(preset, path)
    return None


def find_required(preset, folder, names):
    """The same, with an error where no such file exists."""
    path = find(preset, folder, names)
    if path is None:
        raise ValueError(
            f"`preset` has no tokenizer: none of {list(names)}. Received: "
            f"preset={preset!r}"
        )
    return path
