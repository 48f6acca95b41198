"""Merged metrics are as if one had seen all: for each of the metrics."""

import inspect

import keras
import numpy as np
import pytest

from keras_muse import metrics
from keras_muse.losses import LPIPS
from tests.helpers.tiny_features import TinyFeatures
from tests.helpers.tiny_features import TinyScorer
from tests.helpers.tiny_features import pictures_of
from tests.helpers.tiny_features import random_pictures

TEXTS = [f"a thing of {word}" for word in "wood iron stone glass wax".split()]


def pairs(i):
    return random_pictures(4 + i, i, 32), random_pictures(4 + i, i + 9, 32)


def captioned(i):
    texts = TEXTS[i:] + TEXTS[1:2]
    draws = np.random.default_rng(i).uniform(-1, 1, (len(texts), 8))
    return pictures_of(draws), texts


def token_ids(i):
    return (np.arange(6 + i, dtype="int32") ** 2 % 7 + i,)


# What makes the metric, and its i-th update.
CASES = {
    "CLIPScore": (lambda: metrics.CLIPScore(TinyScorer()), captioned),
    "CodebookPerplexity": (lambda: metrics.CodebookPerplexity(9), token_ids),
    "CodebookUsage": (lambda: metrics.CodebookUsage(9), token_ids),
    "FrechetDistance": (
        lambda: metrics.FrechetDistance(TinyFeatures()),
        pairs,
    ),
    "InceptionScore": (
        lambda: metrics.InceptionScore(TinyFeatures(), num_splits=2),
        lambda i: pairs(i)[:1],
    ),
    "KernelDistance": (lambda: metrics.KernelDistance(TinyFeatures()), pairs),
    "PSNR": (metrics.PSNR, pairs),
    "PerceptualDistance": (
        lambda: metrics.PerceptualDistance(LPIPS(min_size=32)),
        pairs,
    ),
    "PrecisionRecall": (
        lambda: metrics.PrecisionRecall(TinyFeatures(), num_neighbors=1),
        pairs,
    ),
    "RPrecision": (
        lambda: metrics.RPrecision(TinyScorer(), num_candidates=3),
        captioned,
    ),
}


def values(metric):
    return [float(x) for x in keras.tree.flatten(metric.result())]


def test_every_metric_is_here():
    public = {name: getattr(metrics, name) for name in metrics.__all__}
    of_metrics = {
        name
        for name, value in public.items()
        if inspect.isclass(value) and issubclass(value, keras.metrics.Metric)
    }
    assert of_metrics == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_merged_is_one_pass(name):
    make, update = CASES[name]
    parts = []
    for i in range(3):
        parts.append(make())
        parts[-1].update_state(*update(i))
    before = [values(part) for part in parts[1:]]

    one_pass = make()
    for i in range(3):
        one_pass.update_state(*update(i))
    # An empty one changes nothing, and may be merged into.
    merged = make()
    merged.merge_state(iter([parts[0], make(), *parts[1:]]))
    parts[0].merge_state(parts[1:])

    expected = values(one_pass)
    assert expected != before[0] and expected != before[1]
    np.testing.assert_allclose(values(merged), expected, rtol=1e-6)
    np.testing.assert_allclose(values(parts[0]), expected, rtol=1e-6)
    # The others stay as they were, also when what took them in goes on.
    parts[0].update_state(*update(1))
    assert [values(part) for part in parts[1:]] == before


@pytest.mark.parametrize("name", CASES)
def test_another_class_is_not_merged(name):
    make, update = CASES[name]
    metric, good = make(), make()
    metric.update_state(*update(0))
    good.update_state(*update(1))
    before = values(metric)
    with pytest.raises(ValueError, match=f"all be {name}.*Received: <Mean"):
        metric.merge_state([good, keras.metrics.Mean(name="other")])
    assert values(metric) == before


@pytest.mark.parametrize(
    "metric",
    [
        metrics.FrechetDistance,
        metrics.InceptionScore,
        metrics.KernelDistance,
        metrics.PrecisionRecall,
    ],
)
def test_other_features_are_not_merged(metric):
    first, second, empty = metric(), metric(), metric()
    first.update_state(y_pred=np.ones((3, 4)))
    second.update_state(y_pred=np.ones((3, 5)))
    with pytest.raises(ValueError, match="feature_dim=\\[None, 5\\], here 4"):
        first.merge_state([empty, second])
    with pytest.raises(ValueError, match="feature_dim=\\[4, 5\\], here None"):
        empty.merge_state([first, second])
    assert first.generated.count == 3 and empty.generated.count == 0


@pytest.mark.parametrize(
    "make, name",
    [
        (metrics.PrecisionRecall, "num_neighbors"),
        (metrics.InceptionScore, "num_splits"),
        (lambda **kwargs: metrics.RPrecision(TinyScorer(), **kwargs), "seed"),
        (
            lambda **kwargs: metrics.RPrecision(TinyScorer(), **kwargs),
            "num_candidates",
        ),
    ],
)
def test_other_settings_are_not_merged(make, name):
    with pytest.raises(ValueError, match=f"{name}=\\[5\\], here 4"):
        make(**{name: 4}).merge_state([make(**{name: 5})])


def test_other_codebooks_and_scorers_are_not_merged():
    with pytest.raises(ValueError, match="codebook_size=\\[8\\], here 9"):
        metrics.CodebookUsage(9).merge_state([metrics.CodebookUsage(8)])
    first, second = (metrics.RPrecision(TinyScorer()) for _ in range(2))
    second.scorer.dim = 6
    first.update_state(*captioned(0))
    second.update_state(*captioned(0))
    with pytest.raises(ValueError, match="embedding_dim=\\[6\\], here 8"):
        first.merge_state([second])
