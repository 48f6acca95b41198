import numpy as np
import pytest

from keras_muse.metrics import feature_rows
from keras_muse.metrics.feature_rows import FeatureRows
from keras_muse.metrics.feature_rows import row_blocks


def test_features_are_kept_in_their_order():
    parts = np.split(np.arange(12, dtype="float32").reshape(6, 2), [1, 4])
    joined = FeatureRows()
    for part in parts:
        before = joined
        joined = joined + FeatureRows(part)
        assert before.count == joined.count - len(part)  # a value
    assert (joined.count, joined.feature_dim) == (6, 2)
    assert joined.array().dtype == "float64"
    np.testing.assert_array_equal(joined.array(), np.concatenate(parts))


@pytest.mark.parametrize("num_columns", [1, 3, 9, 10, 50])
def test_blocks_hold_each_row_once_and_not_too_many_pairs(
    num_columns, monkeypatch
):
    monkeypatch.setattr(feature_rows, "_BLOCK_PAIRS", 10)
    blocks = row_blocks(7, num_columns)
    rows = [np.arange(7)[block] for block in blocks]
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(7))
    # A row alone may be more than that.
    assert all(len(x) * num_columns <= 10 or len(x) == 1 for x in rows)
