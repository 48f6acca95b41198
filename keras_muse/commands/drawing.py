"""What the commands that draw have in common.

No command has defaults of its own: what is not given is left to the model,
and to Python.
"""

import os
import re

from keras_muse.commands import sampler_options
from keras_muse.files.places import check_place

DEFAULT_PRESET = "muse_emoji"
SUITS = "(default: what suits the model)"
# Options that are arguments of all that draws.
ARGUMENTS = (
    *("num_steps", "super_res_num_steps", "guidance_scale"),
    *("super_res_guidance_scale", "batch_size"),
    *("num_rounds", "mask_ratio", "top_k"),
)
OF_ROUNDS = ("num_rounds", "mask_ratio", "top_k", "guidance_scale")


def add_arguments(command):
    """Options of every command that draws."""
    command.add_argument(
        "--preset",
        help="directory or handle of a Muse (default: muse_emoji, the bundled "
        "one)",
    )
    command.add_argument(
        "--output",
        required=True,
        help="the picture to write; or a directory, which is there or ends in "
        "/, for pictures that are numbered",
    )
    command.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a picture that is there; else it is kept",
    )
    command.add_argument(
        "--no-metadata",
        action="store_true",
        help="do not write into the PNG how it was drawn",
    )
    command.add_argument(
        "--negative-prompt", help="what to lead away from (default: nothing)"
    )
    command.add_argument(
        "--num-images",
        type=int,
        default=1,
        metavar="N",
        help="pictures of each prompt",
    )
    command.add_argument(
        "--seed",
        type=int,
        help="of the first picture; the next has the next one (default: one is "
        "drawn and printed)",
    )
    command.add_argument(
        "--super-res-num-steps",
        type=int,
        metavar="N",
        help=f"steps of the super-resolution model {SUITS}",
    )
    command.add_argument(
        "--super-res-guidance-scale",
        type=float,
        metavar="SCALE",
        help=f"the same of the super-resolution model {SUITS}",
    )
    command.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="pictures drawn at once (default: all, up to 16)",
    )


def add_decoding_arguments(command):
    """Options of the commands that decode what is masked."""
    command.add_argument(
        "--num-steps", type=int, metavar="N", help=f"decoding steps {SUITS}"
    )
    command.add_argument(
        "--guidance-scale",
        type=float,
        metavar="SCALE",
        help=f"how strongly the prompt is followed {SUITS}",
    )
    sampler_options.add_arguments(command)


def add_blending_argument(command):
    command.add_argument(
        "--blend-width",
        type=int,
        metavar="PIXELS",
        help="take the seam away, in a band of so many pixels of what is drawn "
        "(default: 0, no blending)",
    )


# === What is drawn with ===


def blending_of(options):
    """What the command line says of blending, as arguments."""
    if options.blend_width is None:
        return {}
    return {"blend_width": options.blend_width}


def preset_of(options):
    """What the model is loaded from, if the command line says it all."""
    return DEFAULT_PRESET if options.preset is None else options.preset


def given_arguments(options):
    """What the command line says of `ARGUMENTS`, as far as it has them."""
    given = {name: getattr(options, name, None) for name in ARGUMENTS}
    return {name: x for name, x in given.items() if x is not None}


def draw_on(options, task, arguments, **described):
    """Draws on a picture, as often as there are prompts, and writes it all.

    Args:
        options: what the command line says.
        task: string. The method of `Muse` that does it.
        arguments: dict. Arguments of the method that no other has.
        **described: what the new pictures shall remember beside them.
    """
    from keras_muse.models.transformers.decoding import DEFAULT_BATCH_SIZE
    from keras_muse.muse import parameters
    from keras_muse.muse.muse import Muse
    from keras_muse.samplers.seeds import image_seeds

    prompts = [x for x in options.prompts for _ in range(options.num_images)]
    preset = preset_of(options)
    muse = Muse.from_preset(preset)
    given = given_arguments(options)
    given.setdefault("batch_size", min(len(prompts), DEFAULT_BATCH_SIZE))
    if task != "edit":
        given |= sampler_options.samplers_of(options, _used(muse, task, given))
    used = _used(muse, task, given)
    seeds = image_seeds(options.seed, len(prompts))
    images = getattr(muse, task)(
        prompts=prompts,
        negative_prompts=options.negative_prompt,
        seed=seeds,
        **given,
        **arguments,
    )
    made = parameters.describe(
        muse,
        prompts,
        options.negative_prompt,
        seeds=seeds,
        preset=preset,
        options=used,
        task=task,
        image=os.path.basename(options.picture),
        **described,
    )
    save(images, made, options)


def _used(muse, task, given):
    """All options with which a method of `Muse` draws."""
    import inspect

    from keras_muse.muse.draw_options import DrawOptions

    if task != "edit":
        return DrawOptions.of(muse.generation_defaults, **given)
    defaults = inspect.signature(muse.edit).parameters
    own = {name: defaults[name].default for name in OF_ROUNDS}
    return DrawOptions.of_rounds(muse.generation_defaults, **{**own, **given})


# === Pictures that come in ===


def read_picture(path):
    """A picture as uint8 `(height, width, 3)`, as a person sees it."""
    from keras_muse.data.decoding import decode

    return _read(path, decode)


def read_mask(path, picture):
    """A mask of a picture as bool `(height, width)`; white is True."""
    from keras_muse.data.decoding import decode_mask

    mask = _read(path, decode_mask)
    size = picture.shape[:2]
    if mask.shape != size:
        raise ValueError(
            f"`--mask` must be of the picture's size, {size[1]} x {size[0]} "
            f"pixels. Received: `{path}` of {mask.shape[1]} x {mask.shape[0]}"
        )
    if not mask.any():
        raise ValueError(
            "`--mask` must be white where the picture is drawn anew. Received: "
            f"`{path}`, in which nothing is"
        )
    return mask


def _read(path, decode):
    from keras_muse.data.sources.limits import Limits
    from keras_muse.files.damage import reading

    if not os.path.isfile(path):  # a pipe is waited for, for ever
        raise ValueError(f"`{path}` must be the file of a picture, and is none")
    if os.path.getsize(path) > Limits().max_bytes:
        raise ValueError(
            f"`{path}` must have at most {Limits().max_bytes} bytes. Received: "
            f"{os.path.getsize(path)}"
        )
    with reading(path), open(path, "rb") as file:
        return decode(file.read())


# === Pictures that go out ===


def check(options):
    """Refuses what would be found out after the drawing, and lost by it."""
    if options.num_images < 1:
        raise ValueError(
            "`--num-images` must be 1 or more. Received: "
            f"--num-images {options.num_images}"
        )
    check_output(options, len(options.prompts) * options.num_images)


def check_output(options, num_pictures):
    """Refuses a place where so many pictures cannot be written."""
    output = options.output
    check_place(output, _is_directory(output))
    if _is_directory(output):
        return
    if not _is_picture(output):
        raise ValueError(
            "`--output` must be the name of a picture, such as apple.png, or "
            "of a directory, which is there or ends in /. Received: --output "
            f"{output}"
        )
    if num_pictures > 1:
        raise ValueError(
            f"`--output` must be a directory for {num_pictures} pictures, such "
            f"as pictures/. Received: --output {output}"
        )
    if os.path.lexists(output) and not options.overwrite:
        raise ValueError(
            "`--output` is there already, and is kept; `--overwrite` replaces "
            f"it. Received: --output {output}"
        )


def _is_directory(output):
    if output.endswith(("/", os.sep)):
        return True
    return os.path.isdir(output) and not _is_picture(output)


def _is_picture(path):
    """Whether a name is that of a picture that can be written."""
    from PIL import Image

    suffix = os.path.splitext(path)[1].lower()
    return Image.registered_extensions().get(suffix) in Image.SAVE


def save(images, made, options):
    """Writes pictures where they shall be, and prints where that is.

    Args:
        images: uint8 array of shape `(num_images, height, width, 3)`.
        made: list of dicts, how each was drawn.
        options: what the command line says.
    """
    from PIL import Image

    from keras_muse.training.sheets import save_picture

    if not _is_directory(options.output):
        made = None if options.no_metadata else made[0]
        picture = Image.fromarray(images[0])
        save_picture(picture, options.output, made, options.overwrite)
        if made and not options.output.lower().endswith((".png", ".apng")):
            print(
                "Only a PNG remembers how it was drawn: this picture does not"
            )
        print(options.output)
        return
    number = 0 if options.overwrite else _last_number(options.output)
    for image, one in zip(images, made, strict=True):
        one = None if options.no_metadata else one
        number = _save_numbered(
            Image.fromarray(image), one, options, number + 1
        )


def _last_number(directory):
    names = os.listdir(directory) if os.path.isdir(directory) else ()
    numbers = [re.fullmatch(r"(\d{1,9})\.png", name) for name in names]
    return max((int(found[1]) for found in numbers if found), default=0)


def _save_numbered(picture, made, options, number):
    """Writes `00001.png` or the next that is free; returns its number."""
    from keras_muse.training.sheets import save_picture

    while True:
        path = os.path.join(options.output, f"{number:05d}.png")
        try:
            save_picture(picture, path, made, options.overwrite)
        except FileExistsError:  # another process has been faster
            number += 1
        else:
            print(path)
            return number
