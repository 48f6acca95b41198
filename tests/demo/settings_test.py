"""What the page shows of a model's settings, and what it asks for."""

import dataclasses

import pytest

from keras_muse import samplers
from keras_muse.demo import settings
from keras_muse.demo.settings import Settings
from keras_muse.muse import parameters
from keras_muse.muse.draw_options import DrawOptions
from keras_muse.samplers import ConfidenceSampler
from tests.helpers.tiny_muse import shared_muse

# Of a preset, with more than the page shows.
OWN = DrawOptions(
    num_steps=12,
    super_res_num_steps=5,
    guidance_scale=2.0,
    super_res_guidance_scale=1.0,
    sampler=ConfidenceSampler(temperature=0.5, choice_temperature=2.0),
    super_res_sampler=ConfidenceSampler(temperature=0.7),
)
SHOWN = Settings(12, 2.0, "confidence", 0.5)


def test_the_page_shows_what_the_model_draws_with():
    assert Settings.of(OWN) == SHOWN


def test_what_is_not_touched_stays_as_the_model_has_it():
    options = SHOWN.options(OWN)
    assert options.pop("batch_size") == 1
    assert options == {name: getattr(OWN, name) for name in options}
    assert len(options) == 6


def test_what_is_touched_holds_and_the_rest_stays():
    options = Settings(8, 4.0, "confidence", 0.9).options(OWN)
    assert (options["num_steps"], options["guidance_scale"]) == (8, 4.0)
    assert options["super_res_num_steps"] == 5
    # The second stage has guidance of its own here.
    assert options["super_res_guidance_scale"] == 1.0
    expected = ConfidenceSampler(temperature=0.9, choice_temperature=2.0)
    assert options["sampler"] == expected
    assert options["super_res_sampler"].temperature == 0.9


def test_another_sampler_has_the_temperature_of_the_page():
    options = Settings(12, 2.0, "halton", 0.5).options(OWN)
    assert options["sampler"] == samplers.get("halton", temperature=0.5)


def test_guidance_of_the_second_stage_follows_where_it_did():
    options = Settings(24, 5.0, "confidence", 1.0).options(DrawOptions())
    assert options["super_res_guidance_scale"] == 5.0


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"num_steps": 1000}, "`steps` must be an integer from 1 to 64"),
        ({"num_steps": 2.5}, "Received: steps=2.5"),
        ({"guidance_scale": None}, "`guidance` must be"),
        ({"guidance_scale": -1}, "Received: guidance=-1"),
        ({"sampler": "resampling"}, "Received: sampler='resampling'"),
        ({"temperature": float("nan")}, "`temperature` must be"),
    ],
)
def test_what_no_page_sends_is_refused(changes, words):
    shown = Settings(**{**vars(SHOWN), **changes})
    with pytest.raises(ValueError, match=words):
        shown.options(OWN)


def test_settings_of_a_picture_come_back_whole():
    (made,) = parameters.describe(
        shared_muse(), ["a cat"], seeds=[3], preset="tiny", options=OWN
    )
    found = settings.recalled(made)
    assert Settings.of(found).options(found) == SHOWN.options(OWN)


def test_a_picture_of_rounds_has_no_settings_for_drawing():
    assert settings.recalled({"task": "edit"}) is None


def test_a_picture_asks_for_no_more_steps_than_a_person_may():
    made = dataclasses.replace(OWN, super_res_num_steps=10**6)
    with pytest.raises(ValueError, match="super-resolution steps"):
        SHOWN.options(made)


@pytest.mark.parametrize("name", ["sampler", "super_res_sampler"])
def test_a_sampler_that_the_page_does_not_have_is_not_recalled(name):
    (made,) = parameters.describe(
        shared_muse(), ["a cat"], seeds=[1], preset="tiny", options=OWN
    )
    assert settings.recalled(made) == OWN
    made[name] = samplers.describe(samplers.get("resampling"))
    assert settings.recalled(made) is None


def test_what_is_beyond_the_page_is_brought_within():
    own = DrawOptions(
        num_steps=100,
        super_res_num_steps=300,
        guidance_scale=12.0,
        sampler=ConfidenceSampler(temperature=0.05, top_k=3),
    )
    found = settings.within_limits(own)
    assert Settings.of(found) == Settings(64, 10.0, "confidence", 0.1)
    assert found.super_res_guidance_scale == 10.0  # as that of the base
    assert found.super_res_num_steps == 64 and found.sampler.top_k == 3
    Settings.of(found).options(found)
    hot = dataclasses.replace(own, sampler=ConfidenceSampler(temperature=2.5))
    assert settings.within_limits(hot).sampler.temperature == 2
    assert settings.within_limits(OWN) == OWN


def test_settings_that_differ_are_named():
    (made,) = parameters.describe(
        shared_muse(), ["a cat"], seeds=[1], preset="tiny", options=OWN
    )
    assert settings.differing(made, OWN) == []
    other = dataclasses.replace(
        OWN,
        super_res_num_steps=9,
        sampler=samplers.get("halton"),
        super_res_sampler=ConfidenceSampler(temperature=0.8, top_k=2),
    )
    assert settings.differing(made, other) == [
        *("super res num steps", "sampler"),
        *("super res temperature", "super res top k"),
    ]
