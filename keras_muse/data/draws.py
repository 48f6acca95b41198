"""The order of the rows in an epoch."""

import collections.abc
import math

import numpy as np


def draw_order(num_rows, groups, generator):
    """Draws the order in which rows are visited.

    Args:
        num_rows: int.
        groups: list of int arrays, the rows of each group, or None.
        generator: numpy random generator.

    Returns:
        int array `(num_rows,)`. Without groups a permutation. With groups,
        rounds through all groups, each group giving one of its rows a round.
    """
    if groups is None:
        return generator.permutation(num_rows)
    num_rounds = math.ceil(num_rows / len(groups))
    visits = np.tile(np.arange(len(groups)), (num_rounds, 1))
    visits = generator.permuted(visits, axis=1).reshape(-1)[:num_rows]
    return np.array([generator.choice(groups[group]) for group in visits])


def groups_by_column(rows, column):
    """The places of the rows with each value of a column of their metadata."""
    groups = {}
    if not isinstance(column, str):
        raise ValueError(
            "`balance` must be the name of a column. Received: "
            f"balance={column!r}"
        )
    for index, row in enumerate(rows):
        if column not in row.metadata:
            raise ValueError(
                f"`balance` must be a column of every row; {row.name!r} has "
                f"{sorted(row.metadata)}. Received: balance={column!r}"
            )
        value = row.metadata[column]
        if not isinstance(value, collections.abc.Hashable):
            raise ValueError(
                "`balance` must be a column of single values. Received: "
                f"balance={column!r}, of {row.name!r} {value!r}"
            )
        groups.setdefault(value, []).append(index)
    return [np.array(places) for places in groups.values()]
