"""Which rows of a collection are never trained on."""


def digest_fraction(digest):
    """A number in [0, 1) that follows from a picture's bytes alone.

    Args:
        digest: string, of `Row.digest`.
    """
    return int(digest[:16], 16) / 2**64


def split_of(columns):
    """What the column `split` of a row says; `None` if it says nothing.

    Args:
        columns: dict, of a row.
    """
    split = columns.get("split")
    is_blank = isinstance(split, str) and not split.strip()
    return None if is_blank else split


def has_splits(rows):
    """Whether a column `split` says which rows are never trained on."""
    return any(split_of(row.metadata) is not None for row in rows)


def split_rows(rows, bound):
    """Places of the rows to train on, and of those that are held out.

    Args:
        rows: list of `Row`.
        bound: float in [0, 1). Rows whose pictures stand for a smaller number
            are held out, unless a column `split` decides; with 0 no picture is
            read. Of rows of which none is of the split `"train"`, those that
            name none are trained on.

    Returns:
        Two lists of ints.
    """
    if has_splits(rows):
        splits = [split_of(row.metadata) for row in rows]
        trained = "train" if "train" in splits else None
        is_held_out = [split != trained for split in splits]
    else:
        is_held_out = [bound > 0 and _is_below(row, bound) for row in rows]
    places = [], []
    for index, held_out in enumerate(is_held_out):
        places[held_out].append(index)
    return places


def _is_below(row, bound):
    return row.digest is not None and digest_fraction(row.digest) < bound
