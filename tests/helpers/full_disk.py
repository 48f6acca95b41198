"""A disk without room, for any user: no file may grow beyond some bytes."""

import contextlib
import resource


@contextlib.contextmanager
def full_disk(num_bytes=0):
    """Writing more to one file is an `OSError`, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
