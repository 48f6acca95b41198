"""Standard streams that a long job outlives."""

import contextlib
import errno
import io
import os
import sys

_GONE = (errno.EPIPE, errno.EBADF, errno.EIO, errno.ENOSPC, errno.EDQUOT)


def open_closed_streams():
    """Opens the standard streams that were closed before the process began.

    Else the next file that is opened takes the place of one, and what is
    printed lands in it.
    """
    for descriptor, mode in (
        (0, os.O_RDONLY),
        (1, os.O_WRONLY),
        (2, os.O_WRONLY),
    ):
        try:
            os.fstat(descriptor)
        except OSError:
            # It takes the lowest number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, mode), True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


@contextlib.contextmanager
def outliving_streams():
    """A scope in which nobody has to listen to what is printed.

    A pipe whose reader has gone, as of `... | head`, or a log on a full disk
    stops no job: what cannot be written is left out.
    """
    kept = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_outliving, kept)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = kept


class _Outliving(io.FileIO):
    def write(self, data):
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return len(data)


def _outliving(stream):
    """A stream to the same place; those that are no files stay."""
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Outliving(descriptor, "wb", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )
