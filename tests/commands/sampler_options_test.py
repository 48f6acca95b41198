import argparse

import pytest

from keras_muse.commands import sampler_options


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


@pytest.mark.parametrize(
    "words, message",
    [
        (("--sampler", "halten"), "sampler='halten'"),
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
