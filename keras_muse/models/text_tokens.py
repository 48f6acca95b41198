"""Prompts to padded arrays of token ids, whatever the tokenizer."""

import warnings

import numpy as np


def as_list_of_strings(texts):
    """A list of the texts, after checking that each is a string."""
    texts = [texts] if isinstance(texts, str) else texts
    if isinstance(texts, bytes) or not hasattr(texts, "__iter__"):
        raise ValueError(
            "`texts` must be a string or a list of strings. Received: "
            f"texts={texts!r} of type {type(texts).__name__}"
        )
    texts = list(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                "`texts` must be a string or a list of strings. Received: "
                f"texts[{i}]={text!r} of type {type(text).__name__}"
            )
    return texts


def pad_or_cut(rows, length):
    """Rows of token ids as arrays; one warning says how many were cut.

    Args:
        rows: list of lists of ints, each ending in its end token.
        length: int. A longer row keeps its end token as the last.

    Returns:
        Dict of numpy arrays of shape `(num_rows, length)`: `token_ids`
        (int32, 0 at padding) and `padding_mask` (bool, true at real tokens).
    """
    num_cut = sum(len(row) > length for row in rows)
    if num_cut:
        warnings.warn(
            f"{num_cut} of {len(rows)} texts were cut to "
            f"`sequence_length={length}` tokens.",
            stacklevel=3,
        )
    token_ids = np.zeros((len(rows), length), "int32")
    padding_mask = np.zeros((len(rows), length), "bool")
    for i, row in enumerate(rows):
        if len(row) > length:
            row = [*row[: length - 1], row[-1]]
        token_ids[i, : len(row)] = row
        padding_mask[i, : len(row)] = True
    return {"token_ids": token_ids, "padding_mask": padding_mask}
