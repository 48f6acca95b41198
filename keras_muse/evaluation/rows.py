"""Which rows of a data set are drawn, and what they are compared with."""

import collections

import numpy as np

BATCH_SIZE = 32  # of pictures that are looked at at once
# Of the draw of prompts, so that it is always the same.
_SEED = 0


def rows_to_draw(pairs, protocol):
    """The rows whose prompts are drawn: a dataset in file order.

    Args:
        pairs: what `load_image_text` or `load_emoji` returns.
        protocol: a `Protocol`.

    Raises:
        ValueError: if there are fewer rows than the protocol asks for.
    """
    return pairs.select(_chosen(pairs.num_examples, protocol))


def other_rows(pairs, protocol):
    """The rows that are not drawn."""
    chosen = set(_chosen(pairs.num_examples, protocol))
    return pairs.select(
        [i for i in range(pairs.num_examples) if i not in chosen]
    )


def _chosen(there, protocol):
    wanted = protocol.num_prompts
    if wanted is None:
        return list(range(there))
    if there < wanted:
        raise ValueError(
            f"`pairs` must have the {wanted} rows that `protocol` asks for. "
            f"Received: {there} rows"
        )
    if protocol.references == "drawn":
        return [int(i * there / wanted) for i in range(wanted)]
    draws = np.random.default_rng(_SEED)
    return np.sort(draws.choice(there, wanted, replace=False)).tolist()


def picture_batches(pairs, batch_size=BATCH_SIZE):
    """Yields uint8 pictures and their texts, those that can be decoded."""
    for start in range(0, pairs.num_examples, batch_size):
        stop = min(start + batch_size, pairs.num_examples)
        images, texts = pairs.select(range(start, stop)).as_arrays()
        if texts:
            yield images, texts


def size_of(images):
    """The side of square pictures; of others `(height, width)`."""
    height, width = images.shape[1:3]
    return height if height == width else (height, width)


def by_another_hand(rows, pools):
    """A row of the same `concept` by another `family`, for each that has one.

    Args:
        rows: dataset. Others than of drawings by several hands lack these
            columns, and have no such rows.
        pools: list of datasets, in which they are looked for one after the
            other.

    Returns:
        List of `(place in rows, dataset, place in it)`.
    """
    hands = collections.defaultdict(list)
    for pool in pools:
        for place, row in enumerate(pool.rows):
            if _has_hand(row):
                hands[row["concept"]].append((row["family"], pool, place))
    found = []
    for place, row in enumerate(rows.rows):
        if not _has_hand(row):
            continue
        for family, pool, other in hands[row["concept"]]:
            if family != row["family"]:
                found.append((place, pool, other))
                break
    return found


def _has_hand(row):
    # A column of that name may hold anything.
    return isinstance(row.get("concept"), str) and "family" in row
