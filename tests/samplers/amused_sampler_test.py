import numpy as np

from keras_muse.samplers import AmusedSampler


def test_noise_falls_to_zero_in_a_line():
    plan = AmusedSampler().plan(np.array([16]), 5)
    np.testing.assert_allclose(
        plan["choice_temperature"], [2.0, 1.5, 1.0, 0.5, 0.0]
    )


def test_guidance_is_whole_from_the_start():
    scales = AmusedSampler().guidance_scales(10.0, 3)
    np.testing.assert_array_equal(scales, [10.0, 10.0, 10.0])


def test_its_numbers_can_be_changed():
    sampler = AmusedSampler(choice_temperature=3.0, top_k=5)
    plan = sampler.plan(np.array([16]), 2)
    np.testing.assert_allclose(plan["choice_temperature"], [3.0, 0.0])
    assert AmusedSampler.from_config(sampler.get_config()) == sampler
