import json

import numpy as np
import pytest

from keras_muse import samplers
from tests.helpers.tiny import tiny_base
from tests.helpers.tiny import tiny_text


@pytest.mark.parametrize("name", ["amused", "confidence", "halton", "remdm"])
def test_a_name_is_its_sampler_with_defaults(name):
    sampler = samplers.get(name)
    assert type(sampler).__name__.lower() == f"{name}sampler"
    assert sampler == type(sampler)()
    warm = samplers.get(name, temperature=0.5)
    assert warm == type(sampler)(temperature=0.5) != sampler


def test_a_sampler_is_itself():
    sampler = samplers.HaltonSampler(top_k=3)
    assert samplers.get(sampler) is sampler


def test_all_public_samplers_have_a_name():
    public = {getattr(samplers, name) for name in samplers.__all__}
    named = {type(samplers.get(name)) for name in samplers.registry.NAMES}
    assert named == {x for x in public if isinstance(x, type)} - {
        samplers.Sampler
    }


@pytest.mark.parametrize(
    "sampler",
    [
        samplers.ConfidenceSampler(temperature=0.5, top_k=3),
        samplers.HaltonSampler(guidance_interval=(0.1, 0.9)),
        samplers.ReMDMSampler("cap"),
        samplers.ResamplingSampler(),
    ],
)
def test_what_is_described_comes_back(sampler):
    description = json.loads(json.dumps(samplers.describe(sampler)))
    assert samplers.get(**description) == sampler


def test_a_class_without_a_name_is_not_described():
    class Mine(samplers.ConfidenceSampler):
        pass

    with pytest.raises(ValueError, match="with a name.*Received: .*Mine"):
        samplers.describe(Mine())


@pytest.mark.parametrize("sampler", ["Halton", "", 3, samplers.HaltonSampler])
def test_what_is_no_sampler_raises(sampler):
    with pytest.raises(ValueError, match="`sampler` must be.*Received: sam"):
        samplers.get(sampler)


def test_arguments_go_with_a_name():
    with pytest.raises(ValueError, match="must be a name where it has arg"):
        samplers.get(samplers.HaltonSampler(), temperature=0.5)


def test_models_take_names():
    base, options = tiny_base(), {"seed": 1, "num_steps": 3, "verbose": 0}
    np.testing.assert_array_equal(
        base.generate(**tiny_text(2), sampler="halton", **options),
        base.generate(
            **tiny_text(2), sampler=samplers.HaltonSampler(), **options
        ),
    )
    with pytest.raises(ValueError, match="Received: sampler='greedy'"):
        base.generate(**tiny_text(2), sampler="greedy", **options)
