import keras
import numpy as np
import pytest

from keras_muse.runtime.checks import check_image_shape
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_number

TENSOR = keras.ops.convert_to_tensor


@pytest.mark.parametrize(
    "value",
    [
        *(3, np.int64(3), np.uint8(3), np.array(3, ">i4"), np.array(3, "u2")),
        TENSOR(np.int32(3)),
    ],
)
def test_integers_of_any_library(value):
    number = check_int(value, "steps")
    assert number == 3 and type(number) is int


@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, 2**31, 3.0, 2.5, "3", None, True, np.True_, np.float32(3)),
        *(float("nan"), float("inf"), 3j, [3], np.array([3]), TENSOR(3.0)),
        *(TENSOR(True), b"3", object()),
    ],
)
def test_what_is_no_positive_integer(value):
    with pytest.raises(ValueError, match="`steps` must.*Received: steps="):
        check_int(value, "steps")


def test_ranges_of_integers_are_named():
    assert check_int(0, "seed", low=0) == 0
    for arguments, words in (
        ({}, "a positive integer"),
        ({"low": 0}, "an integer, 0 or more"),
        ({"low": 2}, "an integer of at least 2"),
        ({"low": 1, "high": 5}, "an integer from 1 to 5"),
    ):
        with pytest.raises(ValueError, match=f"`n` must be {words}."):
            check_int(-7, "n", **arguments)
    with pytest.raises(ValueError, match="from 1 to 5. Received: n=6"):
        check_int(6, "n", high=5)


@pytest.mark.parametrize(
    "value",
    [2, 2.0, np.float16(2), np.array(2, ">f8"), np.int8(2), TENSOR(2.0)],
)
def test_numbers_of_any_library(value):
    number = check_number(value, "scale")
    assert number == 2 and type(number) is float


@pytest.mark.parametrize(
    "value",
    [
        *(float("nan"), float("inf"), -float("inf"), 1j, "2", b"2", None, True),
        *([2.0], np.array([1.0, 2.0]), np.complex64(2), 10**400, object()),
    ],
)
def test_what_is_no_finite_number(value):
    with pytest.raises(ValueError, match="`scale` must.*Received: scale="):
        check_number(value, "scale")


def test_ranges_of_numbers_are_named():
    assert check_number(0, "x", 0) == 0 and check_number(1, "x", 0, 1) == 1
    for value, arguments, words in (
        (-1, {"low": 0}, "of at least 0"),
        (0, {"low": 0, "open_at": "low"}, "above 0"),
        (2, {"low": 0, "high": 1}, r"in \[0, 1\]"),
        (1, {"low": 0, "high": 1, "open_at": "high"}, r"in \[0, 1\)"),
        (0, {"low": 0, "high": 1, "open_at": "low high"}, r"in \(0, 1\)"),
    ):
        with pytest.raises(ValueError, match=f"{words}. Received: x={value}"):
            check_number(value, "x", **arguments)


@pytest.mark.parametrize("shape", [(4, 4, 3), (0, 4, 4, 3), (1, 4, 4, 1)])
def test_other_shapes_than_those_of_pictures(shape):
    with pytest.raises(ValueError, match="`y` must be of shape.*y.shape="):
        check_image_shape(np.zeros(shape), "y")


def test_pictures_of_a_size():
    check_image_shape(np.zeros((2, 4, 5, 3)), size=(4, 5))
    with pytest.raises(ValueError, match=r"`images`.*\(batch, 5, 4, 3\)"):
        check_image_shape(np.zeros((2, 4, 5, 3)), size=(5, 4))
