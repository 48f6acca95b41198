import numpy as np

from keras_muse.samplers.step import Step


def test_one_step_of_several_is_told_what_it_would_be_alone():
    plan = {
        "temperatures": np.arange(3.0),
        "counts": np.arange(6).reshape(3, 2),
    }
    seeds, editable = np.array([7, 8]), np.ones((2, 4), "bool")
    steps = Step(seeds, np.array([5, 6, 7]), editable, plan)
    for k in range(3):
        step = steps.at(k)
        assert int(step.index) == 5 + k
        assert float(step.plan["temperatures"]) == k
        np.testing.assert_array_equal(step.plan["counts"], [2 * k, 2 * k + 1])
        # Of all steps alike.
        assert step.seeds is seeds and step.editable is editable
