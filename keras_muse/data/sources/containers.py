"""Folders, tars and zips, all seen as `{name: function that reads it}`.

Archives are never extracted: a member is read by its place in the file, so
its name never becomes a path. The readers are picklable, for worker processes.
"""

import functools
import os
import tarfile
import zipfile


def folder_files(path):
    """Every file under a folder, by its name relative to the folder."""
    files = {}
    for folder, _, names in os.walk(path):
        for name in names:
            full = os.path.join(folder, name)
            relative = os.path.relpath(full, path).replace(os.sep, "/")
            files[relative] = functools.partial(read_file, full)
    return dict(sorted(files.items()))


def tar_files(path):
    """Every plain file in a tar, and what stopped the reading, if anything.

    Returns:
        `({name: reader}, problem or None)`.
    """
    files = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.isreg() and not member.issparse():
                    files[member.name] = functools.partial(
                        read_span, path, member.offset_data, member.size
                    )
    except tarfile.TarError as error:
        return files, f"{os.path.basename(path)}: {error}"
    return files, None


def zip_files(path):
    """Every file in a zip, by its name."""
    names = [
        info.filename
        for info in _open_zip(path, os.getpid()).infolist()
        if info.file_size
    ]
    return {name: functools.partial(read_member, path, name) for name in names}


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def read_span(path, offset, size):
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def read_member(path, name):
    return _open_zip(path, os.getpid()).read(name)


@functools.lru_cache(maxsize=8)
def _open_zip(path, process):
    # Kept open, as listing the members again for each picture is slow;
    # ZipFile takes a lock around reads, so threads may share it. A process
    # that was forked may not: both would move the same place in the file.
    return zipfile.ZipFile(path)
