"""Files and directories that appear whole or not at all."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import tempfile
import uuid

# What the names of files and directories begin with that are not whole yet.
WRITING = ".writing_"
# The names that Keras and KerasHub give to a preset's weights.
_WEIGHTS = re.compile(r"model(_\d{5})?\.weights\.(h5|json)")


@contextlib.contextmanager
def write_whole_file(path):
    """Gives a temporary path, whose file moves to its place at the end.

    After an error nothing has been written.

    Args:
        path: string or path. Where the file shall be; missing directories are
            made.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The endings stay: formats are told from them.
    name = f"{WRITING}{uuid.uuid4().hex[:8]}_{path.name}"
    temporary = path.with_name(name)
    try:
        yield str(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path, contents):
    """Writes a file of JSON, whole or not at all."""
    with write_whole_file(path) as temporary:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(contents, file, indent=2)


@contextlib.contextmanager
def write_whole(directory):
    """Gives a temporary directory whose files move to their place at the end.

    After an error nothing has been written.

    Args:
        directory: string. Where the files shall be. New weights of a preset
            replace all files of earlier ones; other files stay.
    """
    directory = os.path.abspath(directory)
    parent = os.path.dirname(directory)
    os.makedirs(parent, exist_ok=True)
    temporary = tempfile.mkdtemp(dir=parent, prefix=WRITING)
    try:
        yield temporary
        # Weights before what names them, parts before the whole.
        for root, _, file_names in os.walk(temporary, topdown=False):
            target = os.path.join(directory, os.path.relpath(root, temporary))
            os.makedirs(target, exist_ok=True)
            new = set(filter(_WEIGHTS.fullmatch, file_names))
            old = set(filter(_WEIGHTS.fullmatch, os.listdir(target)))
            for file_name in sorted(
                file_names, key=lambda name: name.endswith(".json")
            ):
                os.replace(
                    os.path.join(root, file_name),
                    os.path.join(target, file_name),
                )
            for stale in old - new if new else ():
                os.remove(os.path.join(target, stale))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
