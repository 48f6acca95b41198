"""In which order rows are drawn."""

import pytest

from keras_muse.data import ImageTextDataset
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
