"""`keras-muse outpaint`."""

from keras_muse.commands import drawing
from keras_muse.commands import picture_files

HELP = "draw on beyond the borders of a picture"
DESCRIPTION = "Draws on beyond the borders of a picture, which stays in it."
check = picture_files.check


def add_arguments(command):
    drawing.add_picture_and_prompts(
        command,
        picture="of any size",
        prompts="what is to be seen",
    )
    command.add_argument(
        "--padding",
        required=True,
        type=int,
        nargs=4,
        metavar=("TOP", "BOTTOM", "LEFT", "RIGHT"),
        help="pixels to draw on each side",
    )
    drawing.add_blending_argument(command)
    drawing.add_arguments(command)
    drawing.add_decoding_arguments(command)


def run(options):
    picture = picture_files.read_picture(options.picture)
    blending = drawing.blending_of(options)
    drawing.draw_on(
        options,
        "outpaint",
        {"images": picture, "padding": options.padding, **blending},
        **blending,
        padding=options.padding,
    )
