"""How tokens are drawn, as the command line says it."""

import dataclasses


def add_arguments(command):
    command.add_argument(
        "--sampler",
        help="how tokens are revealed: confidence, halton, remdm or amused "
        "(what suits the model)",
    )
    command.add_argument(
        "--temperature",
        type=float,
        help="below 1 the likeliest tokens are drawn (what suits the model)",
    )


def check(options):
    """Refuses what no sampler takes, before a model is loaded."""
    from keras_muse import samplers

    arguments = {}
    if options.temperature is not None:
        arguments["temperature"] = options.temperature
    samplers.get(options.sampler or "confidence", **arguments)


def sampler_of(muse, options):
    """The sampler that is asked for, or `None` for the model's own.

    A temperature suits a model and not a sampler: another sampler draws at
    that of the model's own, unless told otherwise.
    """
    from keras_muse import samplers
    from keras_muse.muse.draw_options import DrawOptions

    if options.sampler is None and options.temperature is None:
        return None
    own = DrawOptions.of(muse.generation_defaults).sampler
    temperature = options.temperature
    if temperature is None:
        temperature = own.temperature
    if options.sampler is None:
        return dataclasses.replace(own, temperature=temperature)
    return samplers.get(options.sampler, temperature=temperature)
