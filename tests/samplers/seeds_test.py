import numpy as np
import pytest

from keras_muse.samplers.seeds import image_seeds


def test_an_int_counts_up():
    seeds = image_seeds(7, 3)
    assert seeds.tolist() == [7, 8, 9] and seeds.dtype == "uint32"
    assert image_seeds(np.int64(7), 2).tolist() == [7, 8]
    assert image_seeds(2**32 - 2, 2).tolist() == [2**32 - 2, 2**32 - 1]


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_a_list_gives_each_its_own(kind):
    assert image_seeds(kind([5, 5, 2]), 3).tolist() == [5, 5, 2]


def test_seeds_go_through_unchanged():
    seeds = image_seeds(2**31 - 1, 2)
    np.testing.assert_array_equal(image_seeds(seeds, 2), seeds)


def test_image_i_is_the_same_alone():
    assert image_seeds(7, 5)[3] == image_seeds(7 + 3, 1)[0]


def test_none_draws_one_and_reports_it(capsys):
    seeds = image_seeds(None, 3)
    drawn = int(capsys.readouterr().out.strip().removeprefix("seed="))
    np.testing.assert_array_equal(seeds, image_seeds(drawn, 3))
    assert drawn != image_seeds(None, 1)[0]


@pytest.mark.parametrize(
    "seed",
    [
        *([1, 2], [1, 2, 3, 4], [[1, 2, 3]], 1.5, [1.0, 2.0, 3.0], "abc"),
        # Beyond 32 bits two seeds would be one.
        *(-1, 2**32, 2**32 - 2, [1, 2, 2**32 + 3], [1, 2, -1], True),
    ],
)
def test_other_seeds_raise(seed):
    with pytest.raises(ValueError, match="list of 3 ints.*Received: seed="):
        image_seeds(seed, 3)
