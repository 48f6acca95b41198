"""How benchmarks print: a table for people, or a JSON object a line."""

import json


def print_rows(rows, as_json, title=""):
    """Prints rows, dicts that may differ in their keys.

    Args:
        rows: list of dicts of strings and numbers.
        as_json: bool. One JSON object a line, and nothing else.
        title: string. What stands above the table.
    """
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names]
    cells += [[_text(row.get(name, "")) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(f"\n{title}")
    for row in cells:
        print(_line(row, widths))


def print_row(row, as_json, widths):
    """Prints one row at once, where the rows to come are not known yet.

    Args:
        row: dict of strings and numbers.
        as_json: bool. A JSON object, in place of a line of the table.
        widths: dict. The names of the table's columns and their widths.
    """
    if as_json:
        print(json.dumps(row), flush=True)
        return
    cells = [_text(row.get(name, "")) for name in widths]
    print(_line(cells, widths.values()), flush=True)


def _line(cells, widths):
    return "  ".join(map(str.ljust, cells, widths)).rstrip()


def _text(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)
