import math

import numpy as np
import pytest

from keras_muse.ops import schedules

ALL_SCHEDULES = ["arccos", "cosine", "cubic", "linear", "sqrt", "square"]


def revealed(num_editable, num_steps, *args):
    plan = schedules.num_masked_per_step([num_editable], num_steps, *args)
    return -np.diff(np.concatenate([[num_editable], plan[:, 0]]))


def test_reveals_what_the_paper_does():
    """Base model with 24 steps, super-resolution with 8."""
    assert revealed(256, 24).tolist() == [
        *(1, 2, 2, 4, 5, 6, 7, 8, 9, 9, 11, 11),
        *(13, 13, 13, 14, 15, 16, 15, 16, 17, 16, 17, 16),
    ]
    assert revealed(4096, 8).tolist() == [
        *(79, 233, 379, 509, 621, 708, 768, 799)
    ]
    assert revealed(256, 12).tolist() == [
        *(3, 6, 11, 15, 18, 22, 26, 27, 31, 31, 33, 33)
    ]


def test_cosine_of_a_third_is_a_half():
    """In float32 this would be 127 of 256."""
    assert schedules.num_masked_per_step([256], 3)[1, 0] == 128


def test_arccos_reveals_evenly_and_very_many_at_the_end():
    counts = revealed(256, 24, "arccos").tolist()
    assert counts[:9] == [7] * 9 and counts[-4:] == [13, 15, 20, 47]
    assert revealed(4096, 8, "arccos").tolist() == [
        *(327, 332, 344, 363, 395, 451, 567, 1317)
    ]


def test_linear_schedule_reveals_evenly():
    assert revealed(64, 8, "linear").tolist() == [8] * 8


# A quarter, a half and three quarters of the way.
@pytest.mark.parametrize(
    "name, expected",
    [
        ("cosine", [0.92387953, 0.70710678, 0.38268343]),
        ("arccos", [0.83913875, 0.66666667, 0.46010691]),
        ("linear", [0.75, 0.5, 0.25]),
        ("square", [0.9375, 0.75, 0.4375]),
        ("cubic", [0.984375, 0.875, 0.578125]),
        ("sqrt", [0.5, 0.29289322, 0.1339746]),
    ],
)
def test_mask_schedule_is_its_formula(name, expected):
    function = schedules.MASK_SCHEDULES[name]
    actual = function(np.array([0.25, 0.5, 0.75]))
    np.testing.assert_allclose(actual, expected, rtol=1e-7)
    np.testing.assert_allclose([function(p) for p in (0.25, 0.5)], expected[:2])
    np.testing.assert_allclose(
        [function(0.0), function(1.0)], [1, 0], atol=1e-9
    )
    falling = function(np.linspace(0, 1, 101))
    assert (np.diff(falling) < 0).all()


def test_cosine_and_arccos_are_inverse_functions():
    progress = np.linspace(0, 1, 21)
    there_and_back = schedules.arccos(schedules.cosine(progress))
    np.testing.assert_allclose(there_and_back, progress, atol=1e-9)


def test_every_schedule_is_here():
    assert list(schedules.MASK_SCHEDULES) == ALL_SCHEDULES


FORMULAS = {
    "arccos": lambda x: 2 * math.acos(x) / math.pi,
    "cosine": lambda x: math.cos(math.pi * x / 2),
    "cubic": lambda x: 1 - x * x * x,
    "linear": lambda x: 1 - x,
    "sqrt": lambda x: 1 - math.sqrt(x),
    "square": lambda x: 1 - x * x,
}


@pytest.mark.parametrize("num_steps", [1, 3, 8, 50])
@pytest.mark.parametrize("name", ALL_SCHEDULES)
def test_plan_is_the_formula_cut_to_what_is_left(name, num_steps):
    for num_editable in (256, 17, 2):
        left, expected = num_editable, []
        at_least = 1 if num_editable >= num_steps else 0
        for step in range(1, num_steps + 1):
            target = num_editable * FORMULAS[name](step / num_steps)
            # A whole number but for its rounding is that number.
            to_come = at_least * (num_steps - step)
            target = max(1, to_come, math.floor(round(target, 8)))
            left = max(0, min(target, left - at_least))
            expected.append(left if step < num_steps else 0)
        plan = schedules.num_masked_per_step([num_editable], num_steps, name)
        assert plan[:, 0].tolist() == expected


@pytest.mark.parametrize("name", ALL_SCHEDULES)
def test_each_step_reveals_a_token_where_there_are_enough(name):
    """Also where the formula is done early, as `sqrt` is."""
    for num_steps in (1, 2, 3, 8, 24, 49):
        editable = np.arange(num_steps, 3 * num_steps + 64)
        plan = schedules.num_masked_per_step(editable, num_steps, name)
        counts = -np.diff(np.concatenate([[editable], plan]), axis=0)
        assert counts.min() >= 1 and (counts.sum(axis=0) == editable).all()


@pytest.mark.parametrize("num_steps", [1, 2, 7, 24, 100, 300])
@pytest.mark.parametrize("schedule", ALL_SCHEDULES)
def test_every_row_is_complete_at_the_end(num_steps, schedule):
    editable = np.array([256, 40, 5, 1, 0])
    plan = schedules.num_masked_per_step(editable, num_steps, schedule)
    assert plan.shape == (num_steps, 5) and plan.dtype == "int32"
    assert (plan[-1] == 0).all() and (plan >= 0).all()
    steps = -np.diff(np.concatenate([editable[None], plan]), axis=0)
    enough = editable >= num_steps
    # Each step reveals something, until the row has nothing left.
    before = np.concatenate([editable[None], plan])[:-1]
    assert (steps[(before > 0) & enough] >= 1).all() and (steps >= 0).all()
    # With fewer tokens than steps, the last of them still comes last.
    assert (steps[-1, (editable > 0) & ~enough] >= 1).all()


def test_budget_is_counted_row_by_row():
    """A row half known is decoded as a smaller picture is."""
    together = schedules.num_masked_per_step([256, 100, 7], 6)
    for i, editable in enumerate((256, 100, 7)):
        alone = schedules.num_masked_per_step([editable], 6)
        np.testing.assert_array_equal(together[:, i], alone[:, 0])


def test_guidance_ramps_from_one_to_its_scale():
    ramp = schedules.guidance_per_step(9.0, 5)
    np.testing.assert_allclose(ramp, [1, 3, 5, 7, 9])
    assert ramp.dtype == "float32"
    np.testing.assert_allclose(schedules.guidance_per_step(1.0, 5), 1)
    np.testing.assert_allclose(schedules.guidance_per_step(0.0, 3), [1, 0.5, 0])


def test_constant_guidance_and_single_steps():
    constant = schedules.guidance_per_step(4.0, 3, "constant")
    np.testing.assert_allclose(constant, 4)
    np.testing.assert_allclose(schedules.guidance_per_step(4.0, 1), 4)


def guidance(scale, num_steps, schedule, power=3.0, interval=(0.0, 1.0)):
    """Step by step, in plain numbers."""
    scales = []
    for step in range(num_steps):
        way = step / (num_steps - 1) if num_steps > 1 else 1.0
        part = {
            "constant": 1.0,
            "linear": way,
            "power_cosine": (1 - math.cos(math.pi * way**power)) / 2,
        }[schedule]
        if not interval[0] <= step / num_steps < interval[1]:
            part = 0.0
        scales.append(1 + (scale - 1) * part)
    return scales


@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.25, 0.75), (0.1, 0.9)])
@pytest.mark.parametrize("num_steps", [1, 2, 4, 9])
@pytest.mark.parametrize("schedule", schedules.GUIDANCE_SCHEDULES)
def test_guidance_is_its_formula(schedule, num_steps, interval):
    for scale in (0.0, 1.0, 7.5):
        for power in (1.0, 3.0):
            arguments = (scale, num_steps, schedule, power, interval)
            actual = schedules.guidance_per_step(*arguments)
            assert actual.shape == (num_steps,) and actual.dtype == "float32"
            np.testing.assert_allclose(actual, guidance(*arguments), 1e-6)


def test_power_cosine_sets_in_late_and_ends_flat():
    ramp = schedules.guidance_per_step(9.0, 5, "power_cosine", power=1.0)
    np.testing.assert_allclose(
        ramp, [1, 1 + 4 * (1 - 0.5**0.5), 5, 1 + 4 * (1 + 0.5**0.5), 9]
    )
    later = schedules.guidance_per_step(9.0, 5, "power_cosine", power=4.0)
    assert later[0] == 1 and later[-1] == 9
    assert (later[1:-1] < ramp[1:-1]).all()


def test_guidance_interval_has_its_start_and_not_its_end():
    actual = schedules.guidance_per_step(
        3.0, 8, "constant", interval=(0.25, 0.75)
    )
    assert actual.tolist() == [1, 1, 3, 3, 3, 3, 1, 1]
    # Inside, it is the ramp of all steps, not one of its own.
    actual = schedules.guidance_per_step(8.0, 8, interval=(0.25, 0.75))
    np.testing.assert_allclose(actual, [1, 1, 3, 4, 5, 6, 1, 1])


@pytest.mark.parametrize("schedule", schedules.GUIDANCE_SCHEDULES)
def test_a_single_step_has_the_whole_scale(schedule):
    assert schedules.guidance_per_step(6.0, 1, schedule).tolist() == [6]
    outside = schedules.guidance_per_step(6.0, 1, schedule, interval=(0.5, 1))
    assert outside.tolist() == [1]
