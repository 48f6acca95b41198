import keras
import numpy as np
import pytest

from keras_muse.scorers.picture_network import PictureNetwork
from tests.helpers.tiny import call
from tests.helpers.tiny import to_numpy


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    network = PictureNetwork()
    network.build((None, 64, 64, 3))
    return network


def test_pictures_of_any_size_are_brought_to_one(network):
    assert network.compute_output_shape((5, 9, 8, 3)) == (5, 192)
    # A picture in two colours, at two sizes of which one is that of the net.
    small = np.ones((2, 32, 32, 3), "float32") * [[[[0.5, -0.2, 0.9]]]]
    small[1] = -small[1]
    large = np.repeat(np.repeat(small, 2, axis=1), 2, axis=2)
    features = to_numpy(call(network, large.astype("float32")))
    assert features.shape == (2, network.feature_dim)
    again = to_numpy(call(network, small.astype("float32")))
    np.testing.assert_allclose(again, features, atol=1e-4)
    # Each picture is seen alone, and differs from others.
    assert np.abs(features[0] - features[1]).max() > 0.01
    flipped = to_numpy(call(network, large[::-1].astype("float32")))
    np.testing.assert_allclose(flipped[::-1], features, atol=1e-5)


def test_pixels_are_not_taken_for_floats(network):
    with pytest.raises(ValueError, match=r"\[-1, 1\].*uint8"):
        network(np.full((1, 64, 64, 3), 255, "uint8"))
