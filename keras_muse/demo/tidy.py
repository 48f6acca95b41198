"""What the page leaves on disk and in memory, and who takes it away."""

import collections
import contextlib
import os
import threading
import time

PICTURES = "pictures"  # the folder of what the galleries hold
SECONDS = 3 * 60 * 60  # that anything else is kept
MAX_BYTES = 2**29
PAUSE = 60


def sweep(folder, seconds=SECONDS, max_bytes=MAX_BYTES):
    """Removes files that are old or too many, but for those of galleries.

    Args:
        folder: string.
        seconds: number. What has not changed for so long is old.
        max_bytes: int. What goes beyond, the oldest first, is too much.
    """
    files, kept = _files(os.fspath(folder)), 0
    for age, size, path in sorted(files):  # the newest first
        kept += size
        if age > seconds or kept > max_bytes:
            with contextlib.suppress(OSError):
                os.remove(path)
                os.rmdir(os.path.dirname(path))  # if nothing else is in it


def _files(folder):
    now = time.time()
    for root, directories, names in os.walk(folder):
        if PICTURES in directories and root == folder:
            directories.remove(PICTURES)
        for name in names:
            path = os.path.join(root, name)
            with contextlib.suppress(OSError):
                status = os.stat(path)
                yield now - status.st_mtime, status.st_size, path


@contextlib.contextmanager
def sweeping(folder):
    """Sweeps a folder now and then, in a thread of its own."""
    is_over = threading.Event()

    def run():
        while not is_over.wait(PAUSE):
            sweep(folder)

    thread = threading.Thread(target=run, name="sweeping", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


class Newest(collections.OrderedDict):
    """A dict that lets go of its oldest entries.

    Args:
        size: int. How many it holds.
    """

    def __init__(self, size):
        super().__init__()
        self._size = size

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        while len(self) > self._size:
            self.popitem(last=False)
