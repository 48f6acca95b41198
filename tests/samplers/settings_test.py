import math

import numpy as np
import pytest

from keras_muse.samplers.settings import as_pair
from keras_muse.samplers.settings import check_filters
from keras_muse.samplers.settings import check_guidance


def test_filters_become_numbers_of_python():
    given = np.float32(0.5), np.int64(3), np.float64(0.25)
    found = check_filters(*given)
    assert found == (0.5, 3, 0.25)
    assert [type(x) for x in found] == [float, int, float]
    assert check_filters(1, None, None) == (1.0, None, None)
    assert check_filters(1, 1, 1)[1:] == (1, 1.0)


@pytest.mark.parametrize(
    "name, value",
    [
        *(("temperature", 0), ("temperature", -1), ("temperature", math.inf)),
        *(("top_k", 0), ("top_k", 2.5), ("top_p", 0), ("top_p", 1.01)),
    ],
)
def test_filters_out_of_range_are_named(name, value):
    filters = {"temperature": 1.0, "top_k": None, "top_p": None, name: value}
    with pytest.raises(ValueError, match=f"`{name}`.*Received: {name}="):
        check_filters(**filters)


def test_guidance_is_between_two_parts_of_the_steps():
    found = check_guidance("power_cosine", 2, [np.float32(0.25), 1])
    assert found == (2.0, (0.25, 1.0))
    hash(found)  # samplers are keys of compiled functions
    assert check_guidance("constant", None, None) == (None, None)


@pytest.mark.parametrize(
    "interval",
    [(0.5, 0.5), (0.6, 0.5), (-0.1, 1), (0, 1.1), (0, 1, 2), 3, "ab"],
)
def test_other_intervals_are_refused(interval):
    with pytest.raises(ValueError, match="`guidance_interval` must be a pair"):
        check_guidance("constant", None, interval)


def test_a_power_belongs_to_its_schedule():
    with pytest.raises(ValueError, match="`guidance_power` belongs.*'linear'"):
        check_guidance("linear", 2.0, None)
    with pytest.raises(ValueError, match="`guidance_power`"):
        check_guidance("power_cosine", 0.0, None)


def test_what_is_no_pair_is_no_number():
    assert as_pair(None) is None
    assert as_pair((0, 1)) == (0.0, 1.0)
    for interval in (3, "ab", (0,), (0, "x")):
        assert all(map(math.isnan, as_pair(interval)))
