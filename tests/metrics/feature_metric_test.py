import keras
import numpy as np
import pytest

from keras_muse.metrics import FrechetDistance
from keras_muse.metrics import InceptionScore
from keras_muse.metrics import KernelDistance
from keras_muse.metrics import PrecisionRecall
from tests.helpers.tiny import to_numpy
from tests.helpers.tiny_features import TinyFeatures
from tests.helpers.tiny_features import random_pictures

METRICS = [FrechetDistance, InceptionScore, KernelDistance, PrecisionRecall]


def as_floats(images):
    return (images / 127.5 - 1.0).astype("float32")


@pytest.mark.parametrize("metric", METRICS)
def test_pictures_give_what_their_features_give(metric):
    real, generated = random_pictures(12), random_pictures(11, seed=1)
    network = TinyFeatures()
    of_pictures, of_features = metric(network), metric()
    if metric is InceptionScore:
        of_pictures.update_state(generated)
        of_features.update_state(to_numpy(network(as_floats(generated))))
    else:
        of_pictures.update_state(real, generated)
        of_features.update_state(
            to_numpy(network(as_floats(real))),
            to_numpy(network(as_floats(generated))),
        )
    for one, other in zip(
        keras.tree.flatten(of_pictures.result()),
        keras.tree.flatten(of_features.result()),
        strict=True,
    ):
        assert isinstance(one, float)
        assert one == pytest.approx(other, rel=1e-4, abs=1e-12)


def test_integers_and_floats_of_the_same_pictures():
    images = random_pictures(9)
    metric = FrechetDistance(TinyFeatures())
    metric.update_state(images, as_floats(images))
    np.testing.assert_allclose(metric.real.mean, metric.generated.mean, 1e-6)
    # And other dtypes of both.
    metric.update_state(images.astype("int32"), as_floats(images))
    metric.update_state(images, keras.ops.cast(as_floats(images), "float32"))
    assert metric.result() < 1e-12


def test_batches_of_any_size_give_the_same():
    real, generated = random_pictures(13), random_pictures(10, seed=1)
    results = []
    for batch_size, parts in [(32, 1), (4, 1), (1, 2), (5, 3)]:
        metric = FrechetDistance(TinyFeatures(), batch_size=batch_size)
        for images in np.array_split(real, parts):
            metric.update_state(y_true=images)
        for images in np.array_split(generated, parts):
            metric.update_state(y_pred=images)
        results.append(metric.result())
    assert results[0] > 0
    np.testing.assert_allclose(results[1:], results[0], rtol=1e-5)


def test_all_batches_are_of_the_shape_of_the_first():
    shapes = []

    def network(images):
        shapes.append(images.shape)
        return images.mean(axis=(1, 2))

    metric = FrechetDistance(network, batch_size=4)
    for count in (4, 3, 9, 1):
        metric.update_state(random_pictures(count), random_pictures(count))
    assert set(shapes) == {(4, 8, 8, 3)}
    assert metric.real.count == 17
    # Updates that are all smaller do not pay for the whole batch.
    shapes.clear()
    metric = FrechetDistance(network, batch_size=32)
    metric.update_state(random_pictures(2))
    assert shapes == [(2, 8, 8, 3)]


def test_follows_the_weights_of_the_network():
    network = keras.Sequential(
        [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    )
    images = random_pictures(3)
    metric = FrechetDistance(network)  # which has no weights yet
    metric.update_state(images)
    before = metric.real.mean
    for weight in network.weights:
        weight.assign(2 * weight)
    metric.reset_state()
    metric.update_state(images)
    np.testing.assert_allclose(metric.real.mean, 2 * before, rtol=1e-5)


def test_pictures_are_judged_as_they_are_seen():
    """A decoder's values out of range are clipped; other ranges refused."""
    metric = FrechetDistance(TinyFeatures())
    images = 1.5 * as_floats(random_pictures(4))
    metric.update_state(images, images.clip(-1, 1))
    np.testing.assert_array_equal(metric.real.mean, metric.generated.mean)
    with pytest.raises(ValueError, match="in \\[-1, 1\\].*Received: float32"):
        metric.update_state(random_pictures(4).astype("float32"))


def test_state_keeps_a_copy():
    features = np.random.default_rng(0).standard_normal((9, 2)).astype("f4")
    metric = KernelDistance()
    metric.update_state(features, features + 1)
    before = metric.result()
    features[:] = 0
    assert metric.result() == before


@pytest.mark.parametrize("metric", METRICS)
def test_reset_forgets(metric):
    metric = metric()
    few = np.random.default_rng(0).standard_normal((12, 3))
    arguments = [few, few**2][: 1 if isinstance(metric, InceptionScore) else 2]
    metric.update_state(*arguments)
    first = metric.result()
    metric.reset_state()
    with pytest.raises(ValueError, match="Received: 0"):
        metric.result()
    metric.update_state(*arguments)
    assert metric.result() == first


def test_refuses_other_pictures_and_features():
    metric = FrechetDistance(TinyFeatures())
    with pytest.raises(ValueError, match="`y_true`.*Received.*\\(8, 8, 3\\)"):
        metric.update_state(random_pictures(1)[0])
    with pytest.raises(ValueError, match="`y_pred`.*Received.*\\(0, 8, 8, 3"):
        metric.update_state(y_pred=random_pictures(0))
    with pytest.raises(ValueError, match="Received: y_true=None, y_pred=None"):
        metric.update_state()
    bad = as_floats(random_pictures(3))
    bad[1, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="finite.*`y_pred`, 1 of 3"):
        metric.update_state(random_pictures(3), bad)
    assert metric.real.count == metric.generated.count == 0

    metric = FrechetDistance()
    metric.update_state(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="y_pred=4, before them 5"):
        metric.update_state(y_pred=np.zeros((2, 4)))
    with pytest.raises(ValueError, match="shape \\(2, 8, 8, 3\\)"):
        metric.update_state(random_pictures(2))
    with pytest.raises(ValueError, match="2 real .*, 0 generated"):
        metric.result()
    with pytest.raises(ValueError, match="function.*Received: 'inception'"):
        FrechetDistance("inception")
    with pytest.raises(ValueError, match="Received: batch_size=0"):
        FrechetDistance(TinyFeatures(), batch_size=0)


@pytest.mark.parametrize("metric", METRICS)
def test_config_round_trip(metric):
    metric = metric(TinyFeatures(seed=3), batch_size=7, name="distance")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert type(copy) is type(metric)
    assert copy.get_config() == metric.get_config()
    assert copy.name == "distance" and copy.batch_size == 7
    assert copy.feature_network.seed == 3
