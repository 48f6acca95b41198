import ml_dtypes
import numpy as np
import pytest

from keras_muse.files.damage import check_numbers
from keras_muse.files.damage import reading


@pytest.mark.parametrize(
    "error",
    [KeyError("hidden_dim"), TypeError("x"), RecursionError(), OSError(5, "x")],
)
def test_whatever_goes_wrong_names_the_file_and_what_it_was(error, tmp_path):
    path = tmp_path / "weights.h5"
    with pytest.raises(ValueError, match="/weights.h5` cannot be read") as told:
        with reading(path):
            raise error
    assert type(error).__name__ in str(told.value)
    assert told.value.__cause__ is error


def test_what_names_the_file_already_stays():
    error = ValueError("`some/file` has no `key`")
    with pytest.raises(ValueError) as told:
        with reading("some"), reading("some/file"):
            raise error
    assert told.value is error
    with pytest.raises(ValueError, match="`other` is odd: `some/file`"):
        with reading("other", "is odd"):
            raise error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError])
def test_what_says_nothing_of_the_file_passes(kind):
    with pytest.raises(kind):
        with reading("file"):
            raise kind


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", ml_dtypes.bfloat16]
)
def test_numbers_are_finite(dtype):
    largest = ml_dtypes.finfo(dtype).max
    check_numbers(np.full(100, largest, dtype), "x")
    check_numbers(np.zeros((0, 3), dtype), "x")
    for wrong in (np.nan, np.inf, -np.inf):
        array = np.ones((3, 4), dtype)
        array[1, 2] = wrong
        with pytest.raises(ValueError, match="`x` .*NaN or infinite"):
            check_numbers(array, "x")


@pytest.mark.parametrize(
    "dtype", ["U3", "O", "c8", "M8[s]", ml_dtypes.float8_e4m3fn]
)
def test_of_other_kinds_than_weights_have(dtype):
    with pytest.raises(ValueError, match="`x` is of"):
        check_numbers(np.zeros(3, dtype), "x")
