"""`keras-muse edit`."""

from keras_muse.commands import drawing
from keras_muse.commands import picture_files

HELP = "lead a picture toward a new prompt"
DESCRIPTION = "Leads a picture toward a new prompt, without a mask."
check = picture_files.check


def add_arguments(command):
    drawing.add_picture_and_prompts(
        command,
        picture="of the size that the model draws",
        prompts="what it is to become",
    )
    # Their defaults are those of `Muse.edit`.
    command.add_argument(
        "--num-rounds",
        type=int,
        metavar="N",
        help="the more, the further the picture moves (default: 100)",
    )
    command.add_argument(
        "--mask-ratio",
        type=float,
        metavar="PART",
        help="part of the tokens that a round draws anew (default: 0.08)",
    )
    command.add_argument(
        "--top-k",
        type=int,
        metavar="K",
        help="draw from the K best codes only (default: 3)",
    )
    command.add_argument(
        "--guidance-scale",
        type=float,
        metavar="SCALE",
        help="how strongly the prompt is followed (default: 5.0)",
    )
    drawing.add_arguments(command)


def run(options):
    picture = picture_files.read_picture(options.picture)
    drawing.draw_on(options, "edit", {"images": picture})
