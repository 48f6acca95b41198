"""`keras-muse quickstart`."""

HELP = "train a small Muse on the bundled emoji and draw with it"


def add_arguments(command):
    command.add_argument(
        "--output", required=True, help="directory for the preset and pictures"
    )
    command.add_argument(
        "--minutes", type=float, default=18.0, help="about the time it takes"
    )
    command.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of weights, batches and pictures",
    )


def run(options):
    from keras_muse.recipes.quickstart import quickstart
    from keras_muse.runtime.checks import check_number

    check_number(options.minutes, "--minutes", low=0, open_at="low")
    quickstart(options.output, options.minutes, options.seed)
