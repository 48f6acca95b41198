import keras
import numpy as np
import pytest

from keras_muse.ops.parts import map_parts
from tests.helpers.tiny import to_numpy


@pytest.mark.parametrize("num_parts", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("axis", [1, 2])
def test_parts_together_are_the_whole(num_parts, axis):
    x = np.arange(2 * 7 * 7 * 3, dtype="float32").reshape(2, 7, 7, 3)
    seen = []

    def square_and_place(part, first):
        seen.append(part.shape[axis])
        places = first + keras.ops.arange(part.shape[axis], dtype="int32")
        shape = [1] * 4
        shape[axis] = -1
        places = keras.ops.reshape(places, shape)
        return part * part, part[..., :1] * 0 + keras.ops.cast(
            places, "float32"
        )

    squares, places = map_parts(square_and_place, x, num_parts, axis)
    np.testing.assert_array_equal(to_numpy(squares), x**2)
    expected = np.arange(7).reshape([-1 if i == axis else 1 for i in range(4)])
    np.testing.assert_array_equal(
        to_numpy(places), np.broadcast_to(expected, (2, 7, 7, 1))
    )
    assert set(seen) == {-(-7 // num_parts)}


def test_nested_tensors_are_cut_alike():
    x, y = np.arange(12).reshape(2, 6), np.arange(24).reshape(2, 6, 2)
    result = map_parts(
        lambda part, first: part["x"][..., None] + part["y"],
        {"x": x, "y": y},
        4,
        axis=1,
    )
    np.testing.assert_array_equal(to_numpy(result), x[..., None] + y)
