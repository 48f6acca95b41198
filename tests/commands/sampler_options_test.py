import argparse

import pytest

from keras_muse.commands import sampler_options
from keras_muse.samplers.registry import DRAWING
from keras_muse.samplers.registry import NAMES


def parsed(*words):
    parser = argparse.ArgumentParser()
    sampler_options.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--sampler", "halton"),
        ("--temperature", "0.5"),
        ("--sampler", "remdm", "--temperature", "2"),
    ],
)
def test_samplers_pass(words):
    sampler_options.check(parsed(*words))


def test_the_samplers_of_the_help_are_those_that_pass():
    parser = argparse.ArgumentParser()
    sampler_options.add_arguments(parser)
    text = " ".join(parser.format_help().split())
    assert {name for name in NAMES if name in text} == set(DRAWING)


@pytest.mark.parametrize(
    "words, message",
    [
        (("--sampler", "Halton"), r"one of \['amused'.*sampler='Halton'"),
        (("--sampler", "resampling"), "must be one of.*'halton', 'remdm'"),
        (("--temperature", "0"), "`temperature`.*=0"),
        (("--temperature", "nan"), "`temperature`.*nan"),
        (("--sampler", "halton", "--temperature", "-1"), "temperature=-1"),
    ],
)
def test_what_no_sampler_takes_is_refused_before_a_model_is_loaded(
    words, message
):
    with pytest.raises(ValueError, match=message):
        sampler_options.check(parsed(*words))
