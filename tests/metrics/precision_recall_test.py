import keras
import numpy as np
import pytest

from keras_muse.metrics import PrecisionRecall
from keras_muse.metrics import feature_rows


def two_sets(num_real=40, num_generated=30, dim=3):
    draws = np.random.default_rng(0)
    real = draws.standard_normal((num_real, dim))
    return real, 0.6 * draws.standard_normal((num_generated, dim)) + 0.4


def measure(real, generated, **kwargs):
    metric = PrecisionRecall(**kwargs)
    metric.update_state(real, generated)
    return metric.result()


def part_covered(features, others, k):
    """The paper's definition, picture by picture."""
    covered = 0
    for x in features:
        for i, center in enumerate(others):
            to_others = [
                np.linalg.norm(center - y)
                for j, y in enumerate(others)
                if j != i
            ]
            if np.linalg.norm(x - center) <= sorted(to_others)[k - 1]:
                covered += 1
                break
    return covered / len(features)


@pytest.mark.parametrize("k", [1, 3, 29])
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_equals_the_definition(k, offset, monkeypatch):
    real, generated = two_sets()
    expected = {
        "precision": part_covered(generated, real, k),
        "recall": part_covered(real, generated, k),
    }
    if k == 1:
        assert 0 < expected["recall"] < expected["precision"] < 1
    real, generated = real + offset, generated + offset
    assert measure(real, generated, num_neighbors=k) == expected
    # And in blocks.
    monkeypatch.setattr(feature_rows, "_BLOCK_PAIRS", 200)
    assert measure(real, generated, num_neighbors=k) == expected


def test_what_was_left_out_costs_recall():
    real, _ = two_sets()
    real = np.concatenate([real, real + 100])
    result = measure(real, real[:40])
    assert result == {"precision": 1.0, "recall": 0.5}
    assert measure(real[:40], real) == {"precision": 0.5, "recall": 1.0}


def test_equal_pictures_are_covered():
    """A picture that is there often has a ball of radius zero."""
    one = np.random.default_rng(0).standard_normal((1, 64))
    many = np.repeat(one, 5, axis=0)
    assert measure(many, many) == {"precision": 1.0, "recall": 1.0}
    assert measure(many, many + 0.1) == {"precision": 0.0, "recall": 0.0}


def test_more_pictures_than_neighbors_are_needed():
    real, generated = two_sets()
    with pytest.raises(ValueError, match="at least 4 .* 3 real .*, 30 gen"):
        measure(real[:3], generated)
    with pytest.raises(ValueError, match="Received: num_neighbors=0"):
        PrecisionRecall(num_neighbors=0)


def test_num_neighbors_is_kept():
    metric = PrecisionRecall(num_neighbors=5)
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert copy.num_neighbors == 5
