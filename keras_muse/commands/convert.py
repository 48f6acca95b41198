"""`keras-muse convert`."""

import os

HELP = "turn published weights into a preset"
DESCRIPTION = (
    "Converts what others have published, and reports how near each model is "
    "to its original where that is installed (diffusers or transformers, with "
    "torch)."
)


def add_arguments(command):
    command.add_argument(
        "source", metavar="SOURCE", help="directory or handle, as hf://..."
    )
    command.add_argument(
        "--output", required=True, help="directory for the preset"
    )
    command.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a preset that is there; else it is kept",
    )


def run(options):
    from keras_muse.commands.conversion import convert

    is_there = os.path.isdir(options.output) and os.listdir(options.output)
    if is_there and not options.overwrite:
        raise ValueError(
            "`--output` is not empty, and is kept; `--overwrite` replaces what "
            f"a preset has in it. Received: --output {options.output}"
        )
    rows = convert(options.source, options.output)
    print("part              class             parameters  difference")
    for row in rows:
        difference = "not compared"
        if row["difference"] is not None:
            difference = f"{row['difference']:.1e} of {row['scale']:.2g}"
        print(
            f"{row['part'] or '-':16}  {row['class']:16}  "
            f"{row['parameters']:10}  {difference}"
        )
    print(options.output)
