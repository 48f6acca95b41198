"""Folders, tars and zips, all seen as files by name.

Archives are never extracted: a member is read by its place in the file, so
its name never becomes a path. The readers are picklable, for worker processes.
Only plain files are read: a pipe would never end, nor would `/dev/zero`.
"""

import dataclasses
import functools
import os
import posixpath
import stat
import tarfile
import zipfile

from keras_muse.data.sources.row import Row

# What systems and programs put beside pictures.
_OTHERS_FOLDERS = ("__MACOSX", ".ipynb_checkpoints")
_ZIP_END_BYTES = 22 + 2**16  # a record, and a comment of any length
# Text packs to a tenth. What unpacks to more than so much is no table.
MAX_EXPANSION = 100
SMALL = 2**24  # bytes to which anything may unpack


@dataclasses.dataclass
class Files:
    """The files of a container.

    Attributes:
        readers: dict. Of names with `/` between folders, to functions of the
            largest number of bytes that read the file.
        problems: list of `Row`, each with a problem: what is there and cannot
            be read.
    """

    readers: dict = dataclasses.field(default_factory=dict)
    problems: list = dataclasses.field(default_factory=list)

    def add(self, name, reader, problem=None):
        """Adds a file by its name in the container, or what is wrong of it."""
        name = clean_name(name)
        if _is_others(name):
            return
        if name in self.readers:
            problem = "the same name twice"
        if problem:
            self.problems.append(Row(name=name, problem=problem))
        else:
            self.readers[name] = reader


def clean_name(name):
    """A name as it is compared and shown: `./a.png` is `a.png`."""
    name = posixpath.normpath(name.replace("\\", "/")).lstrip("/")
    # Names of files may hold bytes that are no text.
    return name.encode("utf-8", "backslashreplace").decode()


def _is_others(name):
    folders, _, base = name.rpartition("/")
    return base.startswith("._") or any(
        folder in _OTHERS_FOLDERS for folder in folders.split("/")
    )


# === Folders ===


def folder_files(path):
    """Every file under a folder; links to folders are followed once."""
    files, seen, links = Files(), set(), []
    _walk(path, "", files, seen, links)
    # Last, and the list grows: what has a place of its own keeps that name.
    for target, prefix in links:
        _walk(target, prefix, files, seen, links)
    files.readers = dict(sorted(files.readers.items()))
    return files


def _walk(folder, prefix, files, seen, links):
    try:
        status = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        files.add(prefix or folder, None, "unreadable folder")
        return
    place = status.st_dev, status.st_ino
    if place in seen:  # a circle of links
        return
    seen.add(place)
    for entry in entries:
        name = prefix + entry.name
        try:
            mode = entry.stat().st_mode  # of what a link leads to
        except OSError:
            files.add(name, None, "missing file")
            continue
        if stat.S_ISDIR(mode) and entry.name in _OTHERS_FOLDERS:
            continue
        if stat.S_ISDIR(mode) and entry.is_symlink():
            links.append((entry.path, f"{name}/"))
        elif stat.S_ISDIR(mode):
            _walk(entry.path, f"{name}/", files, seen, links)
        elif stat.S_ISREG(mode):
            files.add(name, functools.partial(read_file, entry.path))
        else:
            files.add(name, None, "no plain file")


def read_file(path, max_bytes):
    """The bytes of a plain file."""
    # Asked before it is opened: to open a pipe is to wait for its writer.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("no plain file")
    with open(path, "rb") as file:
        return _read(file, max_bytes)


def _read(file, max_bytes):
    content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"more than max_bytes={max_bytes}")
    return content


# === Tars ===


def tar_files(path):
    """Every plain file of a tar."""
    files = Files()
    name = os.path.basename(path)
    try:
        with tarfile.open(path, "r:") as archive:
            _list_members(archive, path, files)
            is_whole = _has_end(path, archive.offset)
    except (
        tarfile.TarError,
        OSError,
        ValueError,
        OverflowError,
        MemoryError,
        RecursionError,  # long names of long names
    ):
        is_whole = False
    if not is_whole:
        files.problems.append(Row(name=name, problem="damaged archive"))
    return files


def _list_members(archive, path, files):
    last = -1
    while (member := archive.next()) is not None:
        # A negative size leads back, for ever.
        if member.size < 0 or archive.offset <= last:
            raise ValueError("members overlap")
        last = archive.offset
        if member.isdir():
            continue
        is_plain = member.isreg() and not member.issparse()
        files.add(
            member.name,
            functools.partial(read_span, path, member.offset_data, member.size),
            None if is_plain else "no plain file",
        )


def _has_end(path, offset):
    """Whether a block of zeros ends the archive, as it must."""
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def read_span(path, offset, size, max_bytes):
    """Some bytes of a file."""
    if size > max_bytes:
        raise ValueError(f"more than max_bytes={max_bytes}")
    with open(path, "rb") as file:
        file.seek(offset)
        content = file.read(size)
    if len(content) < size:
        raise ValueError("the archive is cut short")
    return content


# === Zips ===


def zip_files(path):
    """Every file of a zip."""
    files = Files()
    members = []
    try:
        members = _open_zip(*_state(path)).infolist()
        is_whole = _has_as_many(path, len(members))
    except Exception:  # of many kinds, as directories can be damaged
        is_whole = False
    if not is_whole:
        problem = Row(name=os.path.basename(path), problem="damaged archive")
        files.problems.append(problem)
    for member in members:
        if not member.filename.endswith("/"):  # `is_dir` needs a letter
            files.add(
                member.filename,
                functools.partial(read_member, path, member.filename),
            )
    return files


def _has_as_many(path, num_members):
    """Whether a zip ends with the number of its members, as it must.

    `zipfile` does not ask: a damaged directory hides members.
    """
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - _ZIP_END_BYTES))
        end = file.read()
    place = end.rindex(b"PK\x05\x06") + 10
    number = int.from_bytes(end[place : place + 2], "little")
    # Of more members it has the last digits, or says that it is elsewhere.
    return number in (num_members % 2**16, 2**16 - 1)


def read_member(path, name, max_bytes):
    """The bytes of a member, unpacked."""
    try:
        archive = _open_zip(*_state(path))
        packed = archive.getinfo(name).compress_size
        max_bytes = min(max_bytes, max(SMALL, MAX_EXPANSION * packed))
        with archive.open(name) as file:
            return _read(file, max_bytes)
    except (FileNotFoundError, ValueError):
        raise
    except Exception as error:
        # Bad checksums, passwords, Deflate64: each decoder has its own errors.
        raise ValueError(f"unreadable member: {error}") from error


def _state(path):
    """What tells a zip from another of its name, and from another process.

    ZipFile takes a lock around reads, so threads may share it. A process that
    was forked may not: both would move the same place in the file.
    """
    status = os.stat(path)
    return path, os.getpid(), status.st_ino, status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=8)
def _open_zip(path, *state):
    # Kept open, as listing the members again for each picture is slow.
    return zipfile.ZipFile(path)
