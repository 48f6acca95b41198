import keras
import numpy as np
import pytest
import torch
from torchmetrics.image.inception import InceptionScore as TorchScore

from keras_muse.metrics import InceptionScore
from tests.helpers.tiny_features import TorchFeatures


def some_logits(count=53, num_classes=7):
    draws = np.random.default_rng(0)
    return 2.0 * draws.standard_normal((count, num_classes))


def score(logits, **kwargs):
    metric = InceptionScore(**kwargs)
    metric.update_state(logits)
    return metric.result()


def test_equals_torchmetrics():
    logits = some_logits()
    peer = TorchScore(TorchFeatures(7), splits=1)
    peer.update(torch.tensor(logits))
    expected, _ = peer.compute()
    assert score(logits, num_splits=1) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_is_the_mean_over_parts_in_order():
    logits = some_logits(50)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = []
    for i in range(0, 50, 5):
        part = p[i : i + 5]
        divergence = part * np.log(part / part.mean(axis=0))
        scores.append(np.exp(divergence.sum(axis=1).mean()))
    assert score(logits) == pytest.approx(np.mean(scores), rel=1e-9)
    assert score(logits[::-1]) == pytest.approx(np.mean(scores), rel=1e-9)
    assert score(logits, num_splits=5) > score(logits)


def test_range():
    sure = 1000.0 * np.eye(6)  # where other classes have no probability left
    assert score(sure, num_splits=1) == pytest.approx(6)
    assert score(sure[[0] * 6], num_splits=1) == pytest.approx(1)
    assert score(np.zeros((6, 4)), num_splits=1) == pytest.approx(1)
    assert score(some_logits(1)[[0] * 50], num_splits=1) >= 1


def test_fewer_pictures_than_parts():
    with pytest.raises(ValueError, match="9 pictures .*num_splits=10"):
        score(some_logits(9))
    with pytest.raises(ValueError, match="Received: num_splits=0"):
        InceptionScore(num_splits=0)


def test_num_splits_is_kept():
    metric = InceptionScore(num_splits=3)
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert copy.num_splits == 3
