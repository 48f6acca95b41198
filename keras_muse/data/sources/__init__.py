"""Where captioned pictures come from.

Every source form ends in the same thing: a list of `Row`s, each with a name,
its captions and a way to read its picture. Nothing is decoded here.
"""

import dataclasses
import functools
import glob
import itertools
import os
import posixpath
import re

from keras_muse.data.hold_out import has_splits
from keras_muse.data.hold_out import split_of
from keras_muse.data.sources.containers import folder_files
from keras_muse.data.sources.containers import tar_files
from keras_muse.data.sources.containers import zip_files
from keras_muse.data.sources.limits import Limits
from keras_muse.data.sources.pairing import archive_rows
from keras_muse.data.sources.pairing import has_images
from keras_muse.data.sources.pairing import pair_files
from keras_muse.data.sources.row import Row
from keras_muse.data.sources.tables import csv_file_rows
from keras_muse.data.sources.tfds import tfds_rows
from keras_muse.runtime.checks import show

__all__ = ["Row", "find_rows"]

# Folders at the top of a collection that are called so are splits, `Train`
# like `train`.
_SPLIT_FOLDERS = {"train", "test", "val", "valid", "validation"}


def find_rows(path, split=None, limits=None):
    """Lists the captioned pictures of a source, recognised from its path.

    Args:
        path: string or path. See `keras_muse.data.load_image_text` for the
            forms.
        split: string or None. Keeps the rows whose `split` column has this
            value, or that lie in a folder of this name. For `"tfds:"`
            sources, the name of the split to open.
        limits: `Limits`. Defaults to those of the class.

    Returns:
        A list of `Row`, also of those that cannot be used (their `problem`
        says why). Where all lie in `train/` and folders of other splits, and
        there is no column `split`, and all are read, they get one.
    """
    path, limits = os.fspath(path), limits or Limits()
    if path.startswith("tfds:"):
        return tfds_rows(path.removeprefix("tfds:"), split or "train")
    rows = [
        row
        if row.read is None
        # A reader of a row takes no argument any more.
        else dataclasses.replace(
            row, read=functools.partial(row.read, limits.max_bytes)
        )
        for row in _open(path, limits)
    ]
    if split is None:
        return _with_folders_as_splits(rows)
    kept = [row for row in rows if row.problem or split in _splits(row)]
    known = {one for row in rows if not row.problem for one in _splits(row)}
    if split not in known and any(not row.problem for row in rows):
        raise ValueError(
            "`split` must be a value of the column `split`, or the name of a "
            f"folder: there are {show(sorted(known)) if known else 'none'}. "
            f"Received: path={path!r}, split={split!r}"
        )
    return kept


def _with_folders_as_splits(rows):
    """Rows that know their split where folders at the top are splits.

    So they are where nothing else says it, and all usable rows lie in folders
    that are called so. A folder around all of them, as archives have it,
    changes nothing.
    """
    usable = [row for row in rows if not row.problem]
    depth = len(os.path.commonprefix([_folders(row) for row in usable]))
    splits = {_split_of_folder(row, depth) for row in usable}
    is_split = (
        "train" in splits
        and len(splits) > 1
        and splits <= _SPLIT_FOLDERS
        and not has_splits(usable)
    )
    if not is_split:
        return rows
    return [row if row.problem else _in_split(row, depth) for row in rows]


def _folders(row):
    return row.name.split("/")[:-1]


def _split_of_folder(row, depth):
    """The folder that a row lies in at some depth, `None` if there is none."""
    folders = _folders(row)
    return folders[depth].lower() if len(folders) > depth else None


def _in_split(row, depth):
    metadata = {**row.metadata, "split": _split_of_folder(row, depth)}
    return dataclasses.replace(row, metadata=metadata)


def _open(path, limits):
    if os.path.isdir(path):
        return _folder_rows(path, limits)
    lowered = path.lower()
    if lowered.endswith((".csv", ".tsv")):
        return csv_file_rows(_existing(path), limits)
    if lowered.endswith(".zip"):
        return _archive_rows(_existing(path), limits)
    if lowered.endswith(".tar"):
        rows = [_archive_rows(shard, limits) for shard in _expand(path)]
        return list(itertools.chain.from_iterable(rows))
    _existing(path)
    raise ValueError(
        "`path` must be a folder, a .csv, .tsv, .zip or (uncompressed) .tar "
        "file, a pattern of .tar files, or 'tfds:' and a name. Received: "
        f"path={path!r}"
    )


def _folder_rows(path, limits):
    files = folder_files(path)
    archives = [
        name
        for name in files.readers
        if name.lower().endswith((".tar", ".zip"))
    ]
    for name in archives:
        del files.readers[name]
    # What lies beside shards describes them, unless it is pictures.
    is_loose = not archives or has_images(files)
    rows = pair_files(files, limits) if is_loose else archive_rows(files)
    for name in archives:
        folder = os.path.dirname(name)
        rows += [
            dataclasses.replace(row, name=posixpath.join(folder, row.name))
            for row in _archive_rows(os.path.join(path, name), limits)
        ]
    return rows


def _archive_rows(path, limits):
    is_zip = path.lower().endswith(".zip")
    return pair_files((zip_files if is_zip else tar_files)(path), limits)


def _expand(pattern):
    """`shard-{0000..0003}.tar` and `shard-*.tar` to the paths they name."""
    numbers = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if numbers:
        first, last = numbers.groups()
        paths = [
            f"{pattern[: numbers.start()]}{number:0{len(first)}d}"
            f"{pattern[numbers.end() :]}"
            for number in range(int(first), int(last) + 1)
        ]
    elif os.path.exists(pattern):
        paths = [pattern]
    else:
        paths = sorted(glob.glob(pattern)) or [pattern]
    return [_existing(path) for path in paths]


def _existing(path):
    if not os.path.exists(path):
        raise ValueError(
            f"`path` names what is not there. Received: path={path!r}"
        )
    return path


def _splits(row):
    """Names of the splits that a row is of, a list."""
    own = split_of(row.metadata)
    if own is not None:
        return [own] if isinstance(own, str) else []
    return _folders(row)
