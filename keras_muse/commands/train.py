"""`keras-muse train`."""

from keras_muse.models.presets.architectures import ARCHITECTURES

HELP = "train a Muse on captioned pictures and draw with it"
DESCRIPTION = (
    "Trains a Muse on captioned pictures and leaves it in DIR/preset, with "
    "DIR/grid.png and DIR/scores. Started again, it goes on where it was. "
    "With --preset a trained Muse is fine-tuned, for which few pictures are "
    "enough."
)
LEAST_MINUTES = 3


def add_arguments(command):
    command.add_argument(
        "pictures",
        metavar="PICTURES",
        help="what `load_image_text` reads: a folder of pictures with .txt "
        "files of captions or a metadata.jsonl, a .csv, .tar or .zip, "
        "'tfds:NAME'",
    )
    command.add_argument(
        "--output",
        metavar="DIR",
        required=True,
        help="directory of this one training",
    )
    command.add_argument(
        "--minutes",
        type=float,
        default=30.0,
        help=f"about the time it takes, all in all; at least {LEAST_MINUTES}",
    )
    command.add_argument(
        "--held-out",
        metavar="PICTURES",
        help="pictures that are never trained on (default: a tenth, about 512 "
        "at most, chosen by a hash)",
    )
    _add_sizes(command.add_argument_group("sizes, chosen unless given"))
    _add_fine_tuning(command.add_argument_group("fine-tuning"))
    command.add_argument(
        "--num-views",
        type=int,
        help="views of each picture to train on: itself, and random parts "
        "(default: more where pictures are few)",
    )
    command.add_argument(
        "--random-flip",
        action="store_true",
        help="mirror half of those parts; not where there is writing",
    )
    command.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of weights, batches and pictures",
    )


def _add_sizes(group):
    group.add_argument("--image-size", type=int, help="pixels a side")
    group.add_argument(
        "--base-image-size",
        type=int,
        help="pixels a side of what the base draws, if super-resolution is to "
        "follow",
    )
    for option, class_name in (
        ("--tokenizer", "VQGANTokenizer"),
        ("--base", "MuseBase"),
        ("--super-res", "MuseSuperRes"),
    ):
        names = [
            n for n, (kind, _) in ARCHITECTURES.items() if kind == class_name
        ]
        group.add_argument(option, metavar="NAME", help=", ".join(names))
    group.add_argument(
        "--from-scratch",
        action="store_true",
        help="use nothing of the bundled model",
    )


def _add_fine_tuning(group):
    group.add_argument(
        "--preset",
        help="the Muse to fine-tune: a directory, a handle, or muse_emoji",
    )
    group.add_argument(
        "--lora",
        dest="lora_rank",
        type=int,
        metavar="RANK",
        help="train low-rank additions alone, and save them as base.lora.h5",
    )
    group.add_argument(
        "--style",
        help="what the pictures have in common, such as 'my style' or "
        "'woodcut': captions then end in ', my style' or ', woodcut style'; "
        "end your prompts so, too",
    )


def run(options):
    from keras_muse.recipes.train import train

    if options.minutes < LEAST_MINUTES:
        raise ValueError(
            f"`--minutes` must be at least {LEAST_MINUTES}: of less, next to "
            "nothing is left for the training itself. Received: "
            f"--minutes {options.minutes:g}"
        )
    # Each option is an argument of `train`, but for those of the parser.
    arguments = dict(vars(options))
    del arguments["command"], arguments["usage"]
    train(**arguments)
