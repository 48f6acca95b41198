"""`keras-muse generate`."""

import os

from keras_muse.commands import sampler_options

HELP = "draw one picture from a prompt"


def add_arguments(command):
    command.add_argument("prompt")
    command.add_argument(
        "--preset",
        default="muse_emoji",
        help="directory or handle of a Muse (muse_emoji, the bundled one)",
    )
    command.add_argument("--output", required=True, help="the PNG to write")
    command.add_argument("--negative-prompt")
    command.add_argument(
        "--guidance-scale", type=float, help="(what suits the model)"
    )
    command.add_argument("--num-steps", type=int, help="(what suits the model)")
    sampler_options.add_arguments(command)
    command.add_argument(
        "--best-of",
        type=int,
        metavar="N",
        help="draw N pictures and keep the one that `emoji_scorer` likes best",
    )
    command.add_argument("--seed", type=int, default=0)


def run(options):
    _check_picture_name(options.output)
    sampler_options.check(options)
    from PIL import Image

    from keras_muse.muse.muse import Muse
    from keras_muse.training.sheets import save_picture

    muse = Muse.from_preset(options.preset)
    scorer = None
    if options.best_of is not None:
        from keras_muse.models import PictureTextScorer

        scorer = PictureTextScorer.from_preset("emoji_scorer").score
    sampler = sampler_options.sampler_of(muse, options)
    images = muse.generate(
        options.prompt,
        options.negative_prompt,
        num_steps=options.num_steps,
        guidance_scale=options.guidance_scale,
        seed=options.seed,
        best_of=options.best_of,
        scorer=scorer,
        sampler=sampler,
        super_res_sampler=sampler,
    )
    save_picture(Image.fromarray(images[0]), options.output)
    print(options.output)


def _check_picture_name(path):
    """Before the picture is drawn: afterwards it would be lost."""
    from PIL import Image

    suffix = os.path.splitext(path)[1].lower()
    if Image.registered_extensions().get(suffix) not in Image.SAVE:
        raise ValueError(
            "`--output` must be the name of a picture, such as apple.png. "
            f"Received: --output {path}"
        )
