"""Pairs the pictures of a container with their captions."""

import json
import os
import posixpath
import re

from keras_muse.data.sources.row import Row
from keras_muse.data.sources.tables import csv_records
from keras_muse.data.sources.tables import jsonl_records
from keras_muse.data.sources.tables import record_rows
from keras_muse.data.sources.tables import texts_of

IMAGE_EXTENSIONS = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
)
TABLES = {"metadata.jsonl": jsonl_records, "metadata.csv": csv_records}


def pair_files(files, problem=None):
    """Rows from `{name: reader}`.

    A `metadata.jsonl` or `metadata.csv` anywhere among the files gives the
    captions; without one, the file beside a picture with the same name and
    the ending `.txt` or `.json` does.

    Args:
        files: dict of name to a function that reads the file.
        problem: string or None. What stopped the listing of the files.

    Returns:
        A list of `Row`.
    """
    tables = [name for name in files if posixpath.basename(name) in TABLES]
    rows = _table_rows(files, tables) if tables else _sidecar_rows(files)
    if problem:
        rows.append(Row(name=problem, problem="damaged archive"))
    return rows


def _is_image(name):
    return name.lower().endswith(IMAGE_EXTENSIONS)


def _table_rows(files, tables):
    rows = []
    for table in tables:
        read_records = TABLES[posixpath.basename(table)]
        folder = posixpath.dirname(table)
        rows += record_rows(
            read_records(files[table]()),
            table,
            lambda name, folder=folder: files.get(_beside(folder, name)),
            lambda name, folder=folder: _beside(folder, name),
        )
    listed = {row.name for row in rows}
    rows += [
        Row(name=name, problem="no caption")
        for name in files
        if _is_image(name) and name not in listed
    ]
    return rows


def _beside(folder, name):
    return posixpath.normpath(posixpath.join(folder, name))


def _sidecar_rows(files):
    rows, used = [], set()
    for name in filter(_is_image, files):
        stem = os.path.splitext(name)[0]
        sidecars = [
            stem + ending
            for ending in (".txt", ".json")
            if stem + ending in files
        ]
        used.update(sidecars)
        rows.append(_sidecar_row(name, sidecars, files))
    rows += [
        Row(name=name, problem="no picture")
        for name in files
        if name.endswith((".txt", ".json")) and name not in used
    ]
    return rows


def _sidecar_row(name, sidecars, files):
    if not sidecars:
        return Row(name=name, problem="no caption")
    texts, metadata = [], {}
    try:
        for sidecar in sidecars:
            content = files[sidecar]().decode("utf-8-sig")
            if sidecar.endswith(".txt"):
                texts += re.split(r"\r\n|\r|\n", content)
            else:
                metadata = json.loads(content)
                texts += [t for t in texts_of(metadata) if t not in texts]
    except (AttributeError, TypeError, ValueError):
        # Not UTF-8, not JSON, or JSON that is not an object.
        return Row(name=name, problem="unreadable caption")
    metadata = {"file_name": name, **metadata}
    return Row(name, tuple(texts), files[name], metadata)
