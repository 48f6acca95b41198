"""Tables of pictures and captions: JSON lines, CSV and TSV."""

import csv
import functools
import io
import json
import os

from keras_muse.data.sources.containers import read_file
from keras_muse.data.sources.row import Row

IMAGE_COLUMNS = ("file_name", "image", "image_path", "filename", "path")
TEXT_COLUMNS = ("text", "texts", "caption", "captions")


def jsonl_records(content):
    """One dict per line; a line that is not one becomes None."""
    records = []
    # Not `splitlines`: captions may hold other ends of lines, as JSON does.
    for line in content.decode("utf-8-sig", errors="replace").split("\n"):
        if line.strip():
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            records.append(record if isinstance(record, dict) else None)
    return records


def csv_records(content, delimiter=","):
    """One dict per line, by the names in the first line."""
    text = content.decode("utf-8-sig", errors="replace")
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    return list(reader)


def csv_file_rows(path):
    """Rows of a .csv or .tsv file; pictures are named relative to it."""
    delimiter = "\t" if path.lower().endswith(".tsv") else ","
    records = csv_records(read_file(path), delimiter)
    columns = list(records[0]) if records else []
    for wanted in (IMAGE_COLUMNS, TEXT_COLUMNS):
        if not set(wanted) & set(columns):
            raise ValueError(
                f"`path` must be a table with one of the columns {wanted}. "
                f"Received: path={path!r} with the columns {columns}"
            )
    folder = os.path.dirname(path)
    return record_rows(
        records,
        os.path.basename(path),
        lambda name: functools.partial(read_file, os.path.join(folder, name)),
    )


def record_rows(records, table_name, reader_of, full_name=str):
    """Rows of a table; lines that name the same picture are its captions.

    Args:
        records: list of dict, or None for a line that could not be read.
        table_name: string, for reports.
        reader_of: function of the name in the table to a function that
            reads the picture, or None where there is no such picture.
        full_name: function of the name in the table to the name to report.

    Returns:
        A list of `Row`.
    """
    rows, first_records, texts = [], {}, {}
    for line, record in enumerate(records, start=1):
        name = _first_value(record or {}, IMAGE_COLUMNS)
        if not isinstance(name, str) or not name:
            where = f"{table_name} line {line}"
            rows.append(Row(name=where, problem="unreadable line"))
            continue
        try:
            captions = texts_of(record)
        except (TypeError, ValueError):
            rows.append(Row(full_name(name), problem="unreadable caption"))
            continue
        first_records.setdefault(name, record)
        texts.setdefault(name, []).extend(captions)
    for name, record in first_records.items():
        reader = reader_of(name)
        problem = None if reader else "missing picture"
        rows.append(
            Row(full_name(name), tuple(texts[name]), reader, record, problem)
        )
    return rows


def texts_of(record):
    """The captions of one record: a text, a list of them, or none.

    Raises:
        TypeError, ValueError: if there is anything else, such as a number.
    """
    value = _first_value(record, TEXT_COLUMNS)
    if isinstance(value, dict):
        value = value.get("text")
    if value is None:
        return []
    values = [value] if isinstance(value, str | bytes) else list(value)
    texts = [
        text.decode() if isinstance(text, bytes) else text
        for text in values
        if text is not None
    ]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"Captions must be texts. Received: {value!r}")
    return texts


def _first_value(record, columns):
    return next((record[c] for c in columns if c in record), None)
