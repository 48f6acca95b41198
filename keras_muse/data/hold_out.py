"""Which rows of a collection are never trained on."""


def digest_fraction(digest):
    """A number in [0, 1) that follows from a picture's bytes alone.

    Args:
        digest: string, of `Row.digest`.
    """
    return int(digest[:16], 16) / 2**64


def split_rows(rows, share):
    """Places of the rows to train on, and of those that are held out.

    Args:
        rows: list of `Row`.
        share: float in [0, 1). About what part of the rows is held out;
            with 0 no picture is read.

    Returns:
        Two lists of ints.
    """
    if any("split" in row.metadata for row in rows):
        is_held_out = [row.metadata.get("split") != "train" for row in rows]
    else:
        is_held_out = [share > 0 and _is_below(row, share) for row in rows]
    places = [], []
    for index, held_out in enumerate(is_held_out):
        places[held_out].append(index)
    return places


def _is_below(row, share):
    return row.digest is not None and digest_fraction(row.digest) < share
