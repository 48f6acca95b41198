"""Places where something shall be written, hours later."""

import errno
import os


def check_place(path, is_directory=False):
    """Raises unless this user can write a file, or a directory, at a path.

    Nothing is made. Directories that are missing may be.

    Args:
        path: string or path.
        is_directory: bool. Defaults to `False`.

    Raises:
        OSError: with the path.
    """
    path = os.fspath(path)
    if not path:
        raise FileNotFoundError(errno.ENOENT, "no name of a place", path)
    place, missing = os.path.realpath(path), []
    if os.path.exists(place) and os.path.isdir(place) != is_directory:
        number = errno.ENOTDIR if is_directory else errno.EISDIR
        _refuse(number, path)
    if not is_directory:
        place, name = os.path.split(place)
        missing.append(name)
    while not os.path.lexists(place):
        place, name = os.path.split(place)
        missing.append(name)
    if not os.path.isdir(place):
        _refuse(errno.ENOTDIR, path)
    if not os.access(place, os.W_OK | os.X_OK):
        _refuse(errno.EROFS if _is_read_only(place) else errno.EACCES, path)
    if any(len(os.fsencode(x)) > _longest_name(place) for x in missing):
        _refuse(errno.ENAMETOOLONG, path)


def _longest_name(directory):
    """Bytes that a name may have there."""
    if not hasattr(os, "pathconf"):
        return 255
    return os.pathconf(directory, "PC_NAME_MAX")


def _is_read_only(directory):
    return hasattr(os, "statvfs") and bool(
        os.statvfs(directory).f_flag & os.ST_RDONLY
    )


def _refuse(number, path):
    raise OSError(number, os.strerror(number), path)
