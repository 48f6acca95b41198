"""Directories that appear whole or not at all."""

import contextlib
import glob
import os
import shutil
import tempfile


@contextlib.contextmanager
def write_whole(directory):
    """Gives a temporary directory whose files move to their place at the end.

    After an error nothing has been written.

    Args:
        directory: string. Where the files shall be; weights of an earlier
            preset there are removed.
    """
    directory = os.path.abspath(directory)
    parent = os.path.dirname(directory)
    os.makedirs(parent, exist_ok=True)
    temporary = tempfile.mkdtemp(dir=parent, prefix=".writing_")
    try:
        yield temporary
        # Weights before what names them, parts before the whole.
        for root, _, file_names in os.walk(temporary, topdown=False):
            target = os.path.join(directory, os.path.relpath(root, temporary))
            os.makedirs(target, exist_ok=True)
            for stale in glob.glob(os.path.join(target, "model*.weights.*")):
                os.remove(stale)
            for file_name in sorted(
                file_names, key=lambda name: name.endswith(".json")
            ):
                os.replace(
                    os.path.join(root, file_name),
                    os.path.join(target, file_name),
                )
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
