import numpy as np
import pytest

from keras_muse.metrics.picture_batches import PictureBatches
from keras_muse.metrics.picture_batches import check_same_shape
from keras_muse.metrics.picture_batches import clip_to_display_range
from tests.helpers.tiny_features import random_pictures


class Means:
    """A network that remembers the batches it saw."""

    def __init__(self):
        self.shapes = []

    def __call__(self, *pictures):
        self.shapes.append(pictures[0].shape)
        return np.stack([x.mean(axis=(1, 2, 3)) for x in pictures], axis=1)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_any_number_of_pictures_goes_in_batches_of_one_size(count):
    network = Means()
    images, others = random_pictures(count), random_pictures(count, seed=1)
    found = PictureBatches(network, 4)(images, others)
    expected = np.stack(
        [(x / 127.5 - 1).mean(axis=(1, 2, 3)) for x in (images, others)], axis=1
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert set(network.shapes) == {(min(count, 4), 8, 8, 3)}


def test_fewer_pictures_fill_the_batch_that_is_known():
    network = Means()
    batches = PictureBatches(network, 4)
    for count in (3, 1, 2):
        assert batches(random_pictures(count)).shape == (count, 1)
    assert set(network.shapes) == {(3, 8, 8, 3)}


def test_pictures_are_seen_as_they_are_stored():
    images = np.array([0, 51, 255], "uint8").reshape(1, 1, 3, 1)
    images = np.broadcast_to(images, (1, 1, 3, 3))
    floats = np.array([-7.0, -0.6, 1.5], "float32").reshape(1, 1, 3, 1)
    floats = np.broadcast_to(floats, (1, 1, 3, 3))
    for pictures in (images, floats):
        seen = clip_to_display_range(pictures)
        assert seen.dtype == "float32"
        np.testing.assert_allclose(seen[0, 0, :, 0], [-1, -0.6, 1], atol=1e-6)


def test_what_is_no_network_and_no_pair_is_refused():
    with pytest.raises(ValueError, match="A network must be.*'vgg'"):
        PictureBatches("vgg", 4)
    with pytest.raises(ValueError, match="batch_size=0"):
        PictureBatches(Means(), 0)
    images = random_pictures(2)
    with pytest.raises(ValueError, match=r"y_pred.shape=\(1, 8, 8, 3\)"):
        check_same_shape(images, images[:1])
    with pytest.raises(ValueError, match="`y_true`"):
        check_same_shape(images[0], images)


@pytest.mark.parametrize(
    "network", [lambda x: x.mean((1, 2))[:2], lambda x: np.float32(1)]
)
def test_a_network_gives_a_row_for_each_picture(network):
    pictures = np.zeros((3, 8, 8, 3), "float32")
    with pytest.raises(ValueError, match="a row for each picture.*3 pictures"):
        PictureBatches(network, 4)(pictures)
