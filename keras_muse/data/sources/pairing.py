"""Pairs the pictures of a container with their captions."""

import dataclasses
import json
import posixpath
import re

from keras_muse.data.sources.containers import clean_name
from keras_muse.data.sources.limits import MAX_TABLE_BYTES
from keras_muse.data.sources.row import IMAGE_ENDINGS
from keras_muse.data.sources.row import Row
from keras_muse.data.sources.tables import csv_records
from keras_muse.data.sources.tables import jsonl_records
from keras_muse.data.sources.tables import of_one_picture
from keras_muse.data.sources.tables import record_rows
from keras_muse.data.sources.tables import texts_of

CAPTION_ENDINGS = (".txt", ".caption", ".json")
ARCHIVE_ENDINGS = (
    ".tar",
    ".tar.gz",
    ".tar.bz2",
    ".tar.xz",
    ".tgz",
    ".zip",
    ".7z",
    ".rar",
)
TABLES = {"metadata.jsonl": jsonl_records, "metadata.csv": csv_records}


def pair_files(files, limits):
    """Rows of the files of a container.

    A `metadata.jsonl` or `metadata.csv` gives the captions of the pictures in
    its folder and below; where there is none, the file beside a picture with
    the same name and the ending `.txt`, `.caption` or `.json` does.

    Args:
        files: `Files`.
        limits: `Limits`.

    Returns:
        A list of `Row`.
    """
    readers = files.readers
    tables = [name for name in readers if posixpath.basename(name) in TABLES]
    if tables:
        rows = _table_rows(readers, tables, limits)
        others = _others(readers, tables, rows)
        # A text of no picture is of the collection, as beside a table.
        rows += [
            row
            for row in _sidecar_rows(others, limits)
            if row.problem != "no picture"
        ]
    else:
        rows = _sidecar_rows(readers, limits)
    stems = {posixpath.splitext(row.name)[0] for row in rows}
    rows += [row for row in files.problems if _counts(row, stems)]
    return rows + archive_rows(files)


def archive_rows(files):
    """Rows of archives inside of a container, which nobody opens.

    What may be a thousand rows must not be passed over without a word.
    """
    unread = [
        Row(name=name, problem="unread archive")
        for name in files.readers
        if _is_archive(name)
    ]
    return unread + [row for row in files.problems if _is_archive(row.name)]


def _is_archive(name):
    return name.lower().endswith(ARCHIVE_ENDINGS)


def has_images(files):
    """Whether there are pictures among the files, readable or not."""
    names = [*files.readers, *(row.name for row in files.problems)]
    return any(_ending(name) in IMAGE_ENDINGS for name in names)


def _ending(name):
    return posixpath.splitext(name)[1].lower()


def _counts(row, stems):
    """Whether what cannot be read would be a row of the collection.

    Args:
        row: `Row` with a problem.
        stems: set of names without endings, of what has a row.
    """
    if _is_archive(row.name):
        return False  # it is told by `archive_rows`
    if row.problem.endswith("folder"):
        return True
    stem, ending = posixpath.splitext(row.name)
    if (
        posixpath.basename(row.name) in TABLES
        or ending.lower() in IMAGE_ENDINGS
    ):
        return True
    # A caption is a part of its picture's row.
    return ending.lower() in CAPTION_ENDINGS and stem not in stems


def _table_rows(readers, tables, limits):
    rows = []
    for table in tables:
        read_records = TABLES[posixpath.basename(table)]
        folder = posixpath.dirname(table)
        try:
            content = readers[table](MAX_TABLE_BYTES)
            records = read_records(content, limits.max_line_bytes)
        except (OSError, ValueError):
            rows.append(Row(name=table, problem="unreadable table"))
            continue
        rows += record_rows(
            records,
            table,
            lambda name, folder=folder: readers.get(_beside(folder, name)),
            lambda name, folder=folder: _beside(folder, name),
        )
    listed = {row.name for row in rows}
    folders = set(map(posixpath.dirname, tables))
    rows += [
        Row(name=name, problem="no caption")
        for name in readers
        if _ending(name) in IMAGE_ENDINGS
        and name not in listed
        and _is_below(name, folders)
    ]
    return _once_each(rows)


def _others(readers, tables, rows):
    """Readers of the files that no table describes."""
    stems = {posixpath.splitext(row.name)[0] for row in rows}
    folders = set(map(posixpath.dirname, tables))
    return {
        name: reader
        for name, reader in readers.items()
        if posixpath.splitext(name)[0] not in stems
        and not _is_below(name, folders)
    }


def _is_below(name, folders):
    """Whether a file lies in one of some folders, at any depth."""
    while name:
        name = posixpath.dirname(name)
        if name in folders:
            return True
    return False


def _once_each(rows):
    """Several tables may name one picture: they give captions to one row."""
    once, others = {}, []
    for row in rows:
        if row.problem:
            others.append(row)
        elif row.name in once:
            first = once[row.name]
            columns, problem = of_one_picture([first.metadata, row.metadata])
            once[row.name] = dataclasses.replace(
                first,
                texts=first.texts + row.texts,
                metadata=columns,
                problem=first.problem or problem,
            )
        else:
            once[row.name] = row
    return [*once.values(), *others]


def _beside(folder, name):
    return clean_name(posixpath.join(folder, name.replace("\\", "/")))


def _sidecar_rows(readers, limits):
    sidecars = {}
    for name in readers:
        if _ending(name) in CAPTION_ENDINGS:
            stem = posixpath.splitext(name)[0]
            sidecars.setdefault(stem, []).append(name)
    rows, stems = [], set()
    for name in readers:
        if _ending(name) in IMAGE_ENDINGS:
            stem = posixpath.splitext(name)[0]
            stems.add(stem)
            rows.append(
                _sidecar_row(name, sidecars.get(stem, []), readers, limits)
            )
    rows += [
        Row(name=name, problem="no picture")
        for stem, names in sidecars.items()
        if stem not in stems
        for name in names
    ]
    return rows


def _sidecar_row(name, sidecars, readers, limits):
    if not sidecars:
        return Row(name=name, problem="no caption")
    texts, metadata = [], {}
    # Plain captions first, as they are in the order of the endings.
    sidecars = sorted(sidecars, key=lambda s: CAPTION_ENDINGS.index(_ending(s)))
    try:
        for sidecar in sidecars:
            content = readers[sidecar](limits.max_bytes).decode("utf-8-sig")
            if _ending(sidecar) == ".json":
                metadata = json.loads(content)
                texts += [t for t in texts_of(metadata) if t not in texts]
            else:
                texts += re.split(r"\r\n|\r|\n", content)
    except (OSError, TypeError, ValueError, RecursionError):
        # Not to be read, not UTF-8, not JSON, or JSON that is no object.
        return Row(name=name, problem="unreadable caption")
    metadata = {"file_name": name, **metadata}
    return Row(name, tuple(texts), readers[name], metadata)
