import numpy as np
import pytest

from keras_muse.metrics.picture_mean import PictureMean


class Mean(PictureMean):
    pass


def test_each_picture_counts_alike():
    metric = Mean(name="mean")
    metric.add(np.array([1.0]))
    metric.add(np.array([2.0, 3.0, 6.0]))
    assert metric.result() == 3.0
    metric.reset_state()
    metric.add([5])
    assert metric.result() == 5.0


def test_millions_of_pictures_are_counted_exactly():
    """In float32 a sum would stand still at 2 ** 24."""
    metric = Mean()
    metric.count, metric.total = 2**24, 2.0**24
    for _ in range(3):
        metric.add([1.0, 0.0])
    assert metric.total == 2**24 + 3 and metric.count == 2**24 + 6


def test_merged_means_are_those_of_all():
    parts = [Mean() for _ in range(3)]
    for i, part in enumerate(parts[:2]):
        part.add(np.arange(2 + i))
    parts[2].merge_state(parts[:2])
    assert parts[2].result() == np.mean([0, 1, 0, 1, 2])
    assert [part.count for part in parts] == [2, 3, 5]


def test_no_picture_and_no_number_are_refused():
    metric = Mean()
    with pytest.raises(ValueError, match="Mean needs at least one picture"):
        metric.result()
    with pytest.raises(ValueError, match="Mean of a picture must be a number"):
        metric.add([1.0, np.nan])
    assert metric.count == 0
    metric.add([np.inf])  # of equal pictures, a PSNR
    assert metric.result() == np.inf
