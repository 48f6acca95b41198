"""`keras-muse inpaint`."""

import os

from keras_muse.commands import drawing
from keras_muse.commands import picture_files

HELP = "draw the masked part of a picture anew"
DESCRIPTION = (
    "Draws anew what is white in a mask; all other pixels stay as they are."
)
check = picture_files.check


def add_arguments(command):
    drawing.add_picture_and_prompts(
        command,
        picture="of the size that the model draws",
        prompts="what is to be seen",
    )
    command.add_argument(
        "--mask",
        required=True,
        metavar="PICTURE",
        help="of the same size: what is white is drawn anew (greys count as "
        "the nearer, and what is transparent as black)",
    )
    drawing.add_blending_argument(command)
    drawing.add_arguments(command)
    drawing.add_decoding_arguments(command)


def run(options):
    picture = picture_files.read_picture(options.picture)
    mask = picture_files.read_mask(options.mask, picture)
    blending = drawing.blending_of(options)
    drawing.draw_on(
        options,
        "inpaint",
        {"images": picture, "masks": mask, **blending},
        **blending,
        mask=os.path.basename(options.mask),
    )
