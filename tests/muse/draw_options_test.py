import dataclasses
import json

import numpy as np
import pytest

import keras_muse
from keras_muse import samplers
from keras_muse.muse import draw_options
from keras_muse.muse.draw_options import DrawOptions
from tests.helpers.tiny_muse import tiny_muse

DEFAULTS = {
    "num_steps": 2,
    "super_res_num_steps": 1,
    "guidance_scale": 2.5,
    "sampler": samplers.HaltonSampler(temperature=0.6),
    "super_res_sampler": samplers.ConfidenceSampler(top_k=3),
}


@pytest.fixture(scope="module")
def muse():
    return tiny_muse(generation_defaults=DEFAULTS)


def drawn(muse, **options):
    return muse.generate("a red apple", seed=1, verbose=0, **options)


def test_without_any_they_are_the_papers():
    options = DrawOptions.of({})
    assert (options.num_steps, options.super_res_num_steps) == (24, 8)
    assert options.guidance_scale == options.super_res_guidance_scale == 3
    assert options.sampler == samplers.ConfidenceSampler()


def test_what_is_given_comes_before_the_defaults():
    options = DrawOptions.of(DEFAULTS, guidance_scale=4, sampler="halton")
    assert options.num_steps == 2 and options.guidance_scale == 4
    assert options.sampler == samplers.HaltonSampler(temperature=0.6)
    # The second scale follows the first, unless it has its own.
    assert options.super_res_guidance_scale == 4
    own = {**DEFAULTS, "super_res_guidance_scale": 1}
    assert DrawOptions.of(own, guidance_scale=4).super_res_guidance_scale == 1


def test_a_sampler_by_name_draws_at_the_temperature_of_the_models_own():
    """As `--sampler` does: the temperature suits the model's stage."""
    own = {
        "sampler": samplers.HaltonSampler(temperature=0.6),
        "super_res_sampler": samplers.ConfidenceSampler(
            temperature=0.5, top_k=3
        ),
    }
    options = DrawOptions.of(own, sampler="confidence")
    assert options.sampler == samplers.ConfidenceSampler(temperature=0.6)
    assert options.super_res_sampler == own["super_res_sampler"]
    for name in samplers.registry.DRAWING:
        both = DrawOptions.of(own).other_samplers(name)
        by_name = DrawOptions.of(own, sampler=name, super_res_sampler=name)
        assert by_name == DrawOptions.of(own, **both)
    # A value is taken as it is, and so are names where there is nothing else.
    told = samplers.ConfidenceSampler()
    assert DrawOptions.of(own, sampler=told).sampler == told
    named = DrawOptions.of({"sampler": "halton"}, super_res_sampler="remdm")
    assert named.sampler == samplers.HaltonSampler()
    assert named.super_res_sampler == samplers.ReMDMSampler()


def test_the_name_of_the_models_own_sampler_is_that_sampler():
    own = {
        "sampler": samplers.ConfidenceSampler(choice_temperature=0.0, top_k=5),
        "super_res_sampler": samplers.HaltonSampler(temperature=0.5),
    }
    options = DrawOptions.of(own, sampler="confidence")
    assert options == DrawOptions.of(own)
    colder = options.other_samplers("confidence", temperature=0.3)["sampler"]
    assert colder == dataclasses.replace(own["sampler"], temperature=0.3)


def test_a_default_of_none_is_none():
    """Guidance of the second stage goes on to follow that of the first."""
    defaults = draw_options.check_defaults({"super_res_guidance_scale": None})
    assert defaults == {}
    options = DrawOptions.of(defaults, guidance_scale=5)
    assert options.super_res_guidance_scale == 5


def test_the_rounds_of_editing_are_drawn_at_their_own_temperature():
    own = {"super_res_sampler": samplers.HaltonSampler(temperature=0.5)}
    options = DrawOptions.of_rounds(
        {**own, "sampler": samplers.HaltonSampler(temperature=0.6)},
        **{"num_rounds": 3, "mask_ratio": 0.1, "top_k": 3},
        super_res_sampler="confidence",
    )
    assert options.sampler.temperature == 1
    expected = samplers.ConfidenceSampler(temperature=0.5)
    assert options.super_res_sampler == expected


def test_generate_uses_them(muse):
    plain = tiny_muse()
    np.testing.assert_array_equal(drawn(muse), drawn(plain, **DEFAULTS))
    np.testing.assert_array_equal(
        drawn(muse, guidance_scale=1.0),
        drawn(plain, **{**DEFAULTS, "guidance_scale": 1.0}),
    )


def test_a_preset_keeps_them(muse, tmp_path):
    directory = str(tmp_path / "muse")
    muse.save_to_preset(directory)
    with open(f"{directory}/muse.json") as file:
        kept = json.load(file)["generation_defaults"]
    assert kept["sampler"] == {"sampler": "halton", "temperature": 0.6}
    for staged in (False, True):
        loaded = keras_muse.Muse.from_preset(directory, staged=staged)
        assert loaded.generation_defaults == DEFAULTS
    copy = keras_muse.Muse.from_config(muse.get_config())
    assert copy.generation_defaults == DEFAULTS


def test_the_bundled_model_has_its_own():
    muse = keras_muse.Muse.from_preset("muse_emoji", staged=True)
    assert muse.generation_defaults == {
        "num_steps": 16,
        "super_res_num_steps": 4,
        "guidance_scale": 2.0,
        "super_res_guidance_scale": 1.0,
        "sampler": samplers.ConfidenceSampler(temperature=0.5),
        "super_res_sampler": samplers.ConfidenceSampler(temperature=0.5),
    }


@pytest.mark.parametrize(
    "defaults, words",
    [
        ({"seed": 3}, "Received: seed"),
        ({"batch_size": 3}, "Received: batch_size"),
        ({"num_steps": 0}, "num_steps=0"),
        ({"guidance_scale": float("nan")}, "guidance_scale=nan"),
        ({"super_res_sampler": "none"}, "super_res_sampler='none'"),
        ({"sampler": "resampling"}, "sampler=Resampling.*`edit`"),
    ],
)
def test_what_is_no_default_raises(defaults, words):
    with pytest.raises(ValueError, match=words):
        tiny_muse(cascade=False, generation_defaults=defaults)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_steps": 2.5}, "num_steps=2.5"),
        ({"super_res_num_steps": True}, "super_res_num_steps=True"),
        ({"num_steps": 2**31}, "num_steps=2147483648"),
        ({"guidance_scale": 1j}, "guidance_scale=1j"),
        ({"guidance_scale": -1}, "guidance_scale=-1"),
        ({"super_res_guidance_scale": "2"}, "super_res_guidance_scale='2'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"callback": 3}, "callback=3"),
        ({"sampler": 3}, "sampler=3"),
        ({"num_images_per_prompt": 1.5}, "num_images_per_prompt=1.5"),
        ({"best_of": 2.5, "scorer": len}, "best_of=2.5"),
    ],
)
def test_options_out_of_range_are_named_before_any_work(muse, options, words):
    with pytest.raises(ValueError, match=words):
        muse.generate("a red apple", seed=1, **options)


def test_editing_refuses_options_it_does_not_have(muse):
    with pytest.raises(TypeError, match="'num_step'"):
        muse.inpaint(None, None, None, num_step=3)
    with pytest.raises(TypeError, match="'num_step'"):
        muse.outpaint(None, None, padding=None, num_step=3)


def test_a_temperature_changes_the_samplers_of_both_stages():
    """Each remains what suits its stage."""
    own = DrawOptions.of(
        {
            "sampler": samplers.HaltonSampler(temperature=0.6),
            "super_res_sampler": samplers.ConfidenceSampler(top_k=3),
        }
    )
    assert own.other_samplers(temperature=0.9) == {
        "sampler": samplers.HaltonSampler(temperature=0.9),
        "super_res_sampler": samplers.ConfidenceSampler(
            top_k=3, temperature=0.9
        ),
    }
    assert own.other_samplers("remdm") == {
        "sampler": samplers.ReMDMSampler(temperature=0.6),
        "super_res_sampler": samplers.ReMDMSampler(),
    }
    assert own.other_samplers() == {}


def test_the_defaults_of_editing_are_those_of_its_signature():
    muse = tiny_muse(cascade=False)
    found = draw_options.defaults_of_edit(muse)
    assert found["num_rounds"] == 100 and found["guidance_scale"] == 5.0
    assert isinstance(found["mask_ratio"], float)
    used = draw_options.of_task(muse, "edit", {}, {"num_rounds": 7})
    assert used.num_steps == 7 and used.guidance_scale == 5.0
