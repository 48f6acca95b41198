import keras
import numpy as np
import pytest

from keras_muse.ops import images as image_ops
from tests.helpers.tiny import to_numpy


def test_every_pixel_survives_the_round_trip():
    pixels = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1)
    floats = to_numpy(image_ops.to_model_range(pixels))
    assert floats.dtype == "float32"
    assert floats.min() == -1 and floats.max() == 1
    back = image_ops.to_pixels(floats)
    assert back.dtype == "uint8"
    np.testing.assert_array_equal(back, pixels)


def test_floats_stay_as_they_are():
    images = np.array([-1.0, -0.25, 0.0, 0.7, 1.0], "float32")
    np.testing.assert_array_equal(
        to_numpy(image_ops.to_model_range(images)), images
    )


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_all_integers_are_pixels(dtype):
    pixels = np.array([0, 255], dtype)
    assert image_ops.is_pixels(pixels)
    np.testing.assert_array_equal(
        to_numpy(image_ops.to_model_range(pixels)), [-1, 1]
    )


def test_black_and_white_as_bools_are_no_pixels():
    with pytest.raises(ValueError, match="`images` must be.*bool from False"):
        image_ops.check_range(np.array([False, True]))


def test_dtype_of_the_result():
    images = image_ops.to_model_range(np.zeros(3, "uint8"), "bfloat16")
    assert keras.backend.standardize_dtype(images.dtype) == "bfloat16"
    assert not image_ops.is_pixels(images)


def test_values_outside_are_clipped():
    images = np.array([-7.0, -1.001, 1.001, 7.0], "float32")
    assert image_ops.to_pixels(images).tolist() == [0, 0, 255, 255]


def test_pixels_of_half_precision_tensors():
    images = keras.ops.convert_to_tensor([[-1.0, 1.0]], "bfloat16")
    assert image_ops.to_pixels(images).tolist() == [[0, 255]]
