"""How tokens are drawn, as the command line says it."""


def add_arguments(command):
    command.add_argument(
        "--sampler",
        help="how tokens are revealed: confidence, halton, remdm or amused "
        "(default: what suits the model)",
    )
    command.add_argument(
        "--temperature",
        type=float,
        help="below 1 likely tokens are drawn more often (default: what suits "
        "the model)",
    )


def check(options):
    """Refuses what no sampler takes, before a model is loaded."""
    from keras_muse import samplers
    from keras_muse.runtime.checks import check_choice
    from keras_muse.samplers.registry import DRAWING

    if options.sampler is not None:
        check_choice(options.sampler, "sampler", DRAWING)
    arguments = {}
    if options.temperature is not None:
        arguments["temperature"] = options.temperature
    samplers.get(options.sampler or "confidence", **arguments)
