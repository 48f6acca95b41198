"""What the commands that draw have in common.

No command has defaults of its own: what is not given is left to the model,
and to Python.
"""

import os

from keras_muse.commands import picture_files
from keras_muse.commands import sampler_options

DEFAULT_PRESET = "muse_emoji"
SUITS = "(default: what suits the model)"
# Options that are arguments of all that draws.
ARGUMENTS = (
    "num_steps",
    "super_res_num_steps",
    "guidance_scale",
    "super_res_guidance_scale",
    "batch_size",
    "num_rounds",
    "mask_ratio",
    "top_k",
)


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
        help="the picture to write; or a directory, one that exists or a name "
        "that ends in /, for numbered pictures",
    )
    command.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a picture that exists; else it is kept",
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
        help="seed of the first picture; each picture after it has the next "
        "one (default: drawn at random, and printed)",
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
        help=f"guidance scale of the super-resolution model {SUITS}",
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


def add_picture_and_prompts(command, picture, prompts):
    """What is edited, with what words, and the help of both."""
    command.add_argument("picture", metavar="PICTURE", help=picture)
    command.add_argument(
        "prompts",
        nargs="+",
        metavar="PROMPT",
        help=f"{prompts}; several draw several pictures",
    )


def add_blending_argument(command):
    command.add_argument(
        "--blend-width",
        type=int,
        metavar="PIXELS",
        help="take the seam away, in a band of so many pixels of what is drawn "
        "(default: 0, no blending)",
    )


def unneeded_packages(options):
    """What Keras imports where it finds it, and drawing does not need.

    The three take a third of the time of all imports.

    Args:
        options: what the command line says.
    """
    is_bundled = options.preset in (None, DEFAULT_PRESET)
    if is_bundled and getattr(options, "source", None) is None:
        return ("grain", "matplotlib", "kagglehub")
    return ("grain", "matplotlib")  # a part may lie in a hub


# === What is drawn with ===


def blending_of(options):
    """What the command line says of blending, as arguments."""
    from keras_muse.runtime.checks import check_int

    if options.blend_width is None:
        return {}
    return {"blend_width": check_int(options.blend_width, "blend_width", low=0)}


def preset_of(options):
    """What the model is loaded from, if the command line says it all."""
    return DEFAULT_PRESET if options.preset is None else options.preset


def given_arguments(options):
    """What the command line says of `ARGUMENTS`, as far as it has them."""
    given = {name: getattr(options, name, None) for name in ARGUMENTS}
    return {name: x for name, x in given.items() if x is not None}


def check_given(options, task="generate"):
    """Refuses arguments that are out of range, before a model is loaded."""
    from keras_muse.muse import draw_options
    from keras_muse.muse.muse import Muse

    draw_options.of_task(Muse, task, {}, given_arguments(options))


def draw_on(options, task, arguments, **described):
    """Draws on a picture, as often as there are prompts, and writes it all.

    Args:
        options: what the command line says.
        task: string. The method of `Muse` that does it.
        arguments: dict. Arguments of the method that no other has.
        **described: what the new pictures shall remember beside them.
    """
    from keras_muse.models.transformers.decoding import DEFAULT_BATCH_SIZE
    from keras_muse.muse import draw_options
    from keras_muse.muse import parameters
    from keras_muse.muse.muse import Muse
    from keras_muse.samplers.seeds import image_seeds

    if task != "edit":
        sampler_options.check(options)
    check_given(options, task)
    prompts = [x for x in options.prompts for _ in range(options.num_images)]
    seeds = image_seeds(options.seed, len(prompts))
    preset = preset_of(options)
    muse = Muse.from_preset(preset)
    defaults = muse.generation_defaults
    given = given_arguments(options)
    given.setdefault("batch_size", min(len(prompts), DEFAULT_BATCH_SIZE))
    if task != "edit":
        own = draw_options.of_task(muse, task, defaults, given)
        given |= own.other_samplers(options.sampler, options.temperature)
    used = draw_options.of_task(muse, task, defaults, given)
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
    picture_files.save(images, made, options)
