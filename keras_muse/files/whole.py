"""Files and directories that appear whole or not at all."""

import contextlib
import ctypes
import errno
import glob
import json
import os
import pathlib
import re
import shutil
import stat
import sys
import tempfile
import uuid

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# What the names of files and directories begin with that are not whole yet.
WRITING = ".writing_"
# Writing ends with these errors, which name no file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# The names that Keras, KerasHub and this package give to a preset's weights.
_WEIGHTS = re.compile(r"model(_\d{5})?\.weights\.(h5|json)|model\.safetensors")


@contextlib.contextmanager
def write_whole_file(path, overwrite=True):
    """Gives a temporary path, whose file moves to its place at the end.

    After an error nothing has been written. What a link leads to is written,
    and the link stays; a file that is replaced hands its mode on.

    Args:
        path: string or path. Where the file shall be; missing directories are
            made.
        overwrite: bool. Whether to replace a file that is there by then.

    Raises:
        FileExistsError: if it is there and may not be replaced.
    """
    path = pathlib.Path(path)
    if path.is_symlink():
        path = pathlib.Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # The endings stay: formats are told from them. The rest may be as long as
    # a name can be.
    endings = "".join(path.suffixes[-2:])[-32:]
    temporary = path.with_name(f"{WRITING}{uuid.uuid4().hex[:8]}{endings}")
    with _errors_name(path, temporary):
        try:
            yield str(temporary)
            if not overwrite:
                _claim(temporary, path)
            elif path.exists():
                shutil.copymode(path, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _claim(temporary, path):
    """Takes a place, in one step, where nobody else has."""
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise FileExistsError(error.errno, error.strerror, str(path)) from error
    except OSError:  # a file system without links
        open(path, "xb").close()


@contextlib.contextmanager
def _errors_name(path, temporary):
    """Errors of writing name the place that somebody asked for."""
    try:
        yield
    except OSError as error:
        name = "" if error.filename is None else str(error.filename)
        if name.startswith(str(temporary)):
            rest = name[len(str(temporary)) :]
            error.filename = f"{path}{rest if rest[:1] == os.sep else ''}"
        elif not name and error.errno in _FULL:
            error.filename = str(path)
        raise


def write_json(path, contents):
    """Writes a file of JSON, whole or not at all."""
    with write_whole_file(path) as temporary:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(contents, file, indent=2)


def write_text(path, text):
    """Writes a file of text, whole or not at all.

    Names of files may hold bytes that are no text: they are spelled out.
    """
    with write_whole_file(path) as temporary:
        file = pathlib.Path(temporary)
        file.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def write_whole(directory):
    """Gives a temporary directory that takes the place of another at the end.

    The change is one step: killed at any time, the directory is the old one
    or the new one. After an error nothing has been written. What a kill left
    behind is removed by the next that writes to the same place. A directory
    that cannot be moved, as a file system of its own, keeps its place, and the
    files are moved into it one by one.

    Args:
        directory: string. Where the files shall be. New weights of a preset
            replace all files of earlier ones; other files stay.
    """
    directory = os.path.realpath(directory)
    parent, name = os.path.split(directory)
    os.makedirs(parent, exist_ok=True)
    place = directory if _is_bound(directory, parent) else parent
    prefix = f"{WRITING}{name[:48]}_"  # the name may be as long as can be
    _remove_abandoned(place, prefix)
    with _errors_name(directory, os.path.join(place, prefix)):
        temporary = tempfile.mkdtemp(dir=place, prefix=prefix)
    with _errors_name(directory, temporary), claimed(temporary):
        try:
            yield temporary
            if place == directory:
                _move_files(temporary, directory)
            else:
                _add_what_stays(directory, temporary)
                _exchange(temporary, directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _is_bound(directory, parent):
    """Whether a directory is there that cannot be exchanged for another.

    So is what is mounted, and what lies where this user may not write.
    """
    return os.path.isdir(directory) and (
        os.stat(directory).st_dev != os.stat(parent).st_dev
        or not os.access(parent, os.W_OK | os.X_OK)
    )


@contextlib.contextmanager
def write_whole_files(path):
    """Gives a temporary path; it and all beside it move to the place of `path`.

    For a file that names others, such as the index of weights in parts, which
    are moved before it. After an error nothing has been written.

    Args:
        path: string or path. Where the file shall be; missing directories are
            made.
    """
    directory, name = os.path.split(os.path.abspath(path))
    os.makedirs(directory, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=WRITING) as new:
        with _errors_name(directory, new):
            yield os.path.join(new, name)
            for other in sorted(os.listdir(new), key=_names_others):
                os.replace(
                    os.path.join(new, other), os.path.join(directory, other)
                )


def _names_others(name):
    return name.endswith(".json")


def _add_what_stays(old, new):
    """Brings files of an old directory into the new one, without copying."""
    targets = {}
    for root, folders, names in os.walk(old):
        target = targets[root] = os.path.join(new, os.path.relpath(root, old))
        os.makedirs(target, exist_ok=True)
        there = set(os.listdir(target))
        has_weights = any(map(_WEIGHTS.fullmatch, there))
        # Links to directories are not walked into: they stay links.
        links = {x for x in folders if os.path.islink(os.path.join(root, x))}
        for name in {*names, *links} - there:
            if has_weights and _WEIGHTS.fullmatch(name):
                continue
            source = os.path.join(root, name)
            try:
                os.link(
                    source, os.path.join(target, name), follow_symlinks=False
                )
            except OSError:  # a file system without links
                shutil.copy2(
                    source, os.path.join(target, name), follow_symlinks=False
                )
    # Last, for some may not be written to.
    for root, target in reversed(targets.items()):
        shutil.copymode(root, target)


def _exchange(new, old):
    """Puts a directory in the place of another, in one step."""
    if not os.path.isdir(old):
        mode = 0o777 & ~_umask()
        os.chmod(new, mode)
        os.rename(new, old)
        return
    os.chmod(new, stat.S_IMODE(os.stat(old).st_mode))
    if _is_stood_in(old):
        _move_files(new, old)  # somebody stands in it: it stays where it is
    elif not _swap(new, old):
        _move_aside(new, old)


def _is_stood_in(directory):
    """Whether the working directory is this one, or inside of it."""
    try:
        working = os.path.realpath(os.getcwd())
    except FileNotFoundError:  # it was removed
        return False
    return os.path.commonpath([working, directory]) == directory


def _swap(new, old):
    """Whether the system has exchanged two directories."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    paths = os.fsencode(new), os.fsencode(old)
    return library.renameat2(here, paths[0], here, paths[1], exchange) == 0


def _move_aside(new, old):
    """Exchanges in two steps, where the system knows no single one."""
    aside = tempfile.mkdtemp(dir=os.path.dirname(old), prefix=WRITING)
    try:
        os.rename(old, aside)
        os.rename(new, old)
    except OSError:  # a directory that cannot be moved
        _move_files(new, old)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _move_files(new, old):
    """Moves file by file; what names the others comes last."""
    for root, _, names in os.walk(new, topdown=False):
        target = os.path.join(old, os.path.relpath(root, new))
        os.makedirs(target, exist_ok=True)
        for name in sorted(names, key=_names_others):
            os.replace(os.path.join(root, name), os.path.join(target, name))
        if any(map(_WEIGHTS.fullmatch, names)):
            for stale in set(os.listdir(target)) - set(names):
                if _WEIGHTS.fullmatch(stale):
                    os.remove(os.path.join(target, stale))


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


# === What a kill leaves ===


@contextlib.contextmanager
def claimed(directory):
    """Holds a lock on a directory, which ends with the process.

    Args:
        directory: string. It is there.

    Yields:
        bool. Whether nobody else holds it, as far as can be known: not every
        system has locks.
    """
    if fcntl is None:
        yield True
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        yield _is_locked(descriptor)
    finally:
        os.close(descriptor)


def _is_locked(descriptor):
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _remove_abandoned(parent, prefix):
    """Removes temporary directories that no process claims any more."""
    if fcntl is None:
        return
    for path in glob.glob(f"{glob.escape(os.path.join(parent, prefix))}*"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue  # another user's
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # its writer is at work
        finally:
            os.close(descriptor)
