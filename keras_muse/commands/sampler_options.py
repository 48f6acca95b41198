"""How tokens are drawn, as the command line says it."""

import dataclasses


def add_arguments(command):
    command.add_argument(
        "--sampler",
        help="how tokens are revealed: confidence, halton, remdm or amused "
        "(default: what suits the model)",
    )
    command.add_argument(
        "--temperature",
        type=float,
        help="below 1 the likeliest tokens are drawn (default: what suits the "
        "model)",
    )


def check(options):
    """Refuses what no sampler takes, before a model is loaded."""
    from keras_muse import samplers

    arguments = {}
    if options.temperature is not None:
        arguments["temperature"] = options.temperature
    samplers.get(options.sampler or "confidence", **arguments)


def samplers_of(options, used):
    """The samplers that are asked for, of both stages, by their arguments.

    A temperature suits a model and not a sampler: another sampler draws at
    that of the model's own, unless told otherwise.

    Args:
        options: what the command line says.
        used: `DrawOptions` that hold where nothing is asked for.

    Returns:
        A dict, empty where nothing is asked for.
    """
    if options.sampler is None and options.temperature is None:
        return {}
    return {
        name: _changed(getattr(used, name), options)
        for name in ("sampler", "super_res_sampler")
    }


def _changed(own, options):
    from keras_muse import samplers

    temperature = options.temperature
    if temperature is None:
        temperature = own.temperature
    if options.sampler is None:
        return dataclasses.replace(own, temperature=temperature)
    return samplers.get(options.sampler, temperature=temperature)
