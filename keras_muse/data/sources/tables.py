"""Tables of pictures and captions: JSON lines, CSV and TSV.

Each line of a table is a record or a line of the report, whatever the others
are: a line that cannot be read takes none with it.
"""

import functools
import json
import os

from keras_muse.data.hold_out import split_of
from keras_muse.data.sources.containers import clean_name
from keras_muse.data.sources.containers import read_file
from keras_muse.data.sources.limits import MAX_TABLE_BYTES
from keras_muse.data.sources.row import IMAGE_ENDINGS
from keras_muse.data.sources.row import Row

IMAGE_COLUMNS = ("file_name", "image", "image_path", "filename", "path")
TEXT_COLUMNS = ("text", "texts", "caption", "captions")
# Lines that one quoted cell may reach over.
MAX_LINES_OF_CELL = 1000


# === Lines to records ===


def jsonl_records(content, max_line_bytes):
    """One dict per line; a line that is not one becomes `None`."""
    records = []
    # Not `splitlines`: captions may hold other ends of lines, as JSON does.
    for line in _lines(content, max_line_bytes):
        if line is not None and not line.strip():
            continue
        try:
            record = None if line is None else json.loads(line)
        except (ValueError, RecursionError):
            record = None
        records.append(record if isinstance(record, dict) else None)
    return records


def csv_records(content, max_line_bytes, delimiter=","):
    """One dict per record, by the names in the first line, or `None`.

    Raises:
        ValueError: see `csv_columns`.
    """
    columns = csv_columns(content, max_line_bytes, delimiter)
    lines = _lines(content, max_line_bytes)
    records, i = [], 1
    while i < len(lines):
        if lines[i] is None:
            records.append(None)
            i += 1
            continue
        if not lines[i].strip():
            i += 1
            continue
        cells, i = _record(lines, i, delimiter, columns)
        fits = len(cells) <= len(columns)
        # More cells than columns: a caption whose rest would be lost.
        records.append(_by_column(columns, cells) if fits else None)
    return records


def csv_columns(content, max_line_bytes, delimiter=","):
    """The names in the first line.

    Raises:
        ValueError: if they cannot be read, or if there are two of one name:
            captions would be lost.
    """
    first = _lines(content.split(b"\n", 1)[0], max_line_bytes)[0]
    if first is None:
        raise ValueError("the first line is no text of UTF-8, or too long")
    columns = [column.strip() for column in _cells([first], 0, delimiter)[0]]
    for column in columns:
        if column and columns.count(column) > 1:
            raise ValueError(f"two columns are called {column!r}")
    return columns


def _lines(content, max_line_bytes):
    """Lines of text; `None` for one that is no text, or too long."""
    lines = []
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        line = line.removesuffix(b"\r")
        try:
            text = line.decode() if len(line) <= max_line_bytes else None
        except UnicodeDecodeError:
            text = None
        lines.append(text)
    return lines


def _record(lines, start, delimiter, columns):
    """The cells of the record that begins in a line, and the next line.

    A quotation mark opens a cell that may hold delimiters and reach over
    lines, if another one closes it. It is a letter where none does; and where
    a line between would be a record of its own, for then the mark that closes
    is of another cell.
    """
    cells, end = _cells(lines, start, delimiter)
    inner = lines[start + 1 : end]
    if any(
        line is None or _is_record(line, delimiter, columns) for line in inner
    ):
        return lines[start].split(delimiter), start + 1
    return cells, end


def _is_record(line, delimiter, columns):
    """Whether a line alone has all cells, and a picture among them."""
    cells, _ = _cells([line], 0, delimiter)
    name = _first_value(_by_column(columns, cells), IMAGE_COLUMNS) or ""
    is_image = name.lower().strip('"').endswith(IMAGE_ENDINGS)
    return len(cells) == len(columns) and is_image


def _by_column(columns, cells):
    """A record: cells without the blanks around them, as columns have none."""
    return dict(zip(columns, map(str.strip, cells), strict=False))


def _cells(lines, start, delimiter):
    """Cells from a line on, read by the rules of CSV, and the next line."""
    cells, rest, next_line = [], lines[start], start + 1
    while True:
        if rest.startswith('"'):
            closed = _quoted(lines, rest[1:], next_line, delimiter)
            if closed is not None:
                cell, rest, next_line = closed
                cells.append(cell)
                if rest is None:
                    return cells, next_line
                continue
        cell, mark, rest = rest.partition(delimiter)
        cells.append(cell)
        if not mark:
            return cells, next_line


def _quoted(lines, rest, next_line, delimiter):
    """A cell behind its opening mark: cell, rest of the line, next line.

    `None` if no mark closes it; the rest is `None` at the end of a line.
    """
    parts = []
    for _ in range(MAX_LINES_OF_CELL):
        place = 0
        while (place := rest.find('"', place)) >= 0:
            if rest[place + 1 : place + 2] == '"':  # doubled: one of the cell
                place += 2
                continue
            behind = rest[place + 1 :]
            if behind == "" or behind.startswith(delimiter):
                parts.append(rest[:place])
                cell = "\n".join(parts).replace('""', '"')
                after = behind[len(delimiter) :] if behind else None
                return cell, after, next_line
            place += 1
        parts.append(rest)
        if next_line >= len(lines) or lines[next_line] is None:
            return None
        rest, next_line = lines[next_line], next_line + 1
    return None


# === Records to rows ===


def csv_file_rows(path, limits):
    """Rows of a .csv or .tsv file; pictures are named relative to it."""
    delimiter = "\t" if path.lower().endswith(".tsv") else ","
    content = read_file(path, MAX_TABLE_BYTES)
    try:
        columns = csv_columns(content, limits.max_line_bytes, delimiter)
    except ValueError as error:
        raise ValueError(
            "`path` must be a table whose first line has the names of its "
            f"columns. Received: path={path!r}, in which {error}"
        ) from error
    for wanted in (IMAGE_COLUMNS, TEXT_COLUMNS):
        if not set(wanted) & set(columns):
            raise ValueError(
                f"`path` must be a table with one of the columns {wanted}. "
                f"Received: path={path!r} with the columns {columns}"
            )
    folder = os.path.dirname(path)
    return record_rows(
        csv_records(content, limits.max_line_bytes, delimiter),
        os.path.basename(path),
        lambda name: functools.partial(
            read_file, os.path.join(folder, name.replace("\\", "/"))
        ),
    )


def record_rows(records, table_name, reader_of, full_name=clean_name):
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
    rows, names, columns, texts = [], {}, {}, {}  # the latter by the picture
    for line, record in enumerate(records, start=1):
        name = _first_value(record or {}, IMAGE_COLUMNS)
        if not isinstance(name, str) or not name.strip():
            where = f"{table_name} line {line}"
            rows.append(Row(name=where, problem="unreadable line"))
            continue
        full = full_name(name)
        try:
            captions = texts_of(record)
        except (TypeError, ValueError):
            rows.append(Row(full, problem="unreadable caption"))
            continue
        # `./a.png` and `a.png` are one picture, `/a.png` may be another.
        picture = full, os.path.isabs(name)
        names.setdefault(picture, name)
        columns.setdefault(picture, []).append(record)
        texts.setdefault(picture, []).extend(captions)
    for picture, name in names.items():
        reader = reader_of(name)
        record, problem = of_one_picture(columns[picture])
        problem = problem if reader else "missing picture"
        row = Row(picture[0], tuple(texts[picture]), reader, record, problem)
        rows.append(row)
    return rows


def of_one_picture(records):
    """The columns of records that name one picture, and what is wrong.

    They are those of the first. But what is said once to be of a split is,
    and a picture to train on is of no other.

    Args:
        records: list of dicts.

    Returns:
        A dict, and a string or `None`.
    """
    splits = [x for x in map(split_of, records) if x is not None]
    if not splits:
        return records[0], None
    is_one = all(split == splits[0] for split in splits)
    problem = None if is_one else "in several splits"
    return {**records[0], "split": splits[0]}, problem


def texts_of(record):
    """The captions of one record: a text, a list of them, or none.

    Raises:
        TypeError, ValueError: if there is anything else, such as a number,
            or half an emoji, which no file can hold.
    """
    if not isinstance(record, dict):
        raise TypeError(f"A record must be a dict. Received: {record!r}")
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
    for text in texts:
        text.encode()  # raises for half of a pair of surrogates
    return texts


def _first_value(record, columns):
    """What the first of some columns holds that holds anything."""
    values = (record.get(column) for column in columns)
    return next((value for value in values if not _is_empty(value)), None)


def _is_empty(value):
    if isinstance(value, str | bytes):
        return not value.strip()
    return value is None or (isinstance(value, list) and not value)
