"""Which rows of a collection are never trained on."""

import hashlib

import numpy as np


def content_fraction(content):
    """A number in [0, 1) that follows from a picture's bytes alone.

    Args:
        content: bytes, or an array, of a picture as its source holds it.
    """
    if isinstance(content, np.ndarray):
        content = np.ascontiguousarray(content).tobytes()
    digest = hashlib.sha256(content).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


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
    try:
        return content_fraction(row.read()) < share
    except Exception:
        # Of many kinds, on damaged files; who decodes it reports it.
        return False
