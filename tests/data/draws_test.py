"""In which order rows are drawn."""

import numpy as np
import pytest

from keras_muse.data import ImageTextDataset
from keras_muse.data.draws import draw_order
from keras_muse.data.draws import groups_by_column
from keras_muse.data.sources import Row
from tests.helpers.picture_rows import epoch_ids
from tests.helpers.picture_rows import make_rows


def test_balance_draws_uniformly_over_a_column():
    pairs = ImageTextDataset(
        make_rows(40), image_size=4, shuffle=True, balance="kind"
    )
    drawn = epoch_ids(pairs)
    assert len(drawn) == 40
    assert drawn.count(0) == 20  # half, as one of two kinds
    assert len(set(drawn)) > 8
    with pytest.raises(ValueError, match="shuffle"):
        ImageTextDataset(make_rows(4), balance="kind")
    with pytest.raises(ValueError, match="`balance` must be a column"):
        ImageTextDataset(make_rows(4), shuffle=True, balance="color")


def test_without_groups_each_row_comes_once():
    orders = [draw_order(9, None, np.random.default_rng(0)) for _ in range(2)]
    assert sorted(orders[0]) == list(range(9)) != orders[0].tolist()
    np.testing.assert_array_equal(*orders)


@pytest.mark.parametrize("num_rows", [12, 13, 14])
def test_each_group_gives_one_row_a_round(num_rows):
    groups = [np.array([0]), np.array([1, 2, 3]), np.arange(4, num_rows)]
    group_of = {row: i for i, rows in enumerate(groups) for row in rows}
    order = draw_order(num_rows, groups, np.random.default_rng(0))
    visits = [group_of[row] for row in order]
    assert len(visits) == num_rows
    rounds = [visits[i : i + 3] for i in range(0, num_rows, 3)]
    for visited in rounds:  # the last one may be cut
        assert len(set(visited)) == len(visited)
    assert len(set(map(tuple, rounds[:4]))) > 1  # each in an order of its own


def test_groups_are_those_of_a_column():
    rows = make_rows(4)
    rare, common = groups_by_column(rows, "kind")
    assert (rare.tolist(), common.tolist()) == ([0], [1, 2, 3])
    with pytest.raises(ValueError, match="'0.png' has .*balance='color'"):
        groups_by_column(rows, "color")


@pytest.mark.parametrize(
    "column, words",
    [("tags", "column of single values.*'tags'"), (["n"], "name of a column")],
)
def test_what_cannot_be_balanced_is_named(column, words):
    rows = [Row(f"{i}", ("a",), metadata={"tags": [1]}) for i in range(2)]
    with pytest.raises(ValueError, match=words):
        groups_by_column(rows, column)
