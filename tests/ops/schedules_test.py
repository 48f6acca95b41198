import numpy as np
import pytest

from keras_muse.ops import schedules


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


def test_linear_schedule_reveals_evenly():
    assert revealed(64, 8, "linear").tolist() == [8] * 8
    assert schedules.linear(0.25) == 0.75


@pytest.mark.parametrize("num_steps", [1, 2, 7, 24, 100, 300])
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_every_row_is_complete_at_the_end(num_steps, schedule):
    editable = np.array([256, 40, 5, 1, 0])
    plan = schedules.num_masked_per_step(editable, num_steps, schedule)
    assert plan.shape == (num_steps, 5) and plan.dtype == "int32"
    assert (plan[-1] == 0).all() and (plan >= 0).all()
    steps = -np.diff(np.concatenate([editable[None], plan]), axis=0)
    # Each step reveals something, until the row has nothing left.
    before = np.concatenate([editable[None], plan])[:-1]
    assert (steps[before > 0] >= 1).all()
    assert (steps[before == 0] == 0).all()


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
