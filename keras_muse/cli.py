"""The command line: `keras-muse quickstart` and `keras-muse generate`."""

import argparse
import os
import sys


def main(arguments=None):
    """Runs the command line.

    The backend is `KERAS_BACKEND` if set, else JAX.

    Args:
        arguments: list of strings. Defaults to those of the process.
    """
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        sys.exit(f"keras-muse: {' '.join(str(error).split())}")


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-muse",
        description="Text to image with masked transformers, in Keras.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "quickstart",
        help="train a small Muse on the bundled emoji and draw with it",
    )
    command.add_argument(
        "--output", required=True, help="directory for preset and pictures"
    )
    command.add_argument(
        "--minutes", type=float, default=18.0, help="time to take (18)"
    )
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=_quickstart)

    command = commands.add_parser(
        "generate", help="draw one picture from a prompt"
    )
    command.add_argument("prompt")
    command.add_argument(
        "--preset", required=True, help="directory or handle of a Muse"
    )
    command.add_argument("--output", required=True, help="the PNG to write")
    command.add_argument("--negative-prompt")
    command.add_argument("--guidance-scale", type=float, default=3.0)
    command.add_argument("--num-steps", type=int, default=24)
    command.add_argument("--temperature", type=float, default=1.0)
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=_generate)
    return parser


def _quickstart(options):
    from keras_muse.quickstart import quickstart

    if not 0 < options.minutes < float("inf"):
        raise ValueError(
            "`--minutes` must be a number above 0. Received: "
            f"--minutes {options.minutes}"
        )
    quickstart(options.output, options.minutes, options.seed)


def _generate(options):
    from PIL import Image

    from keras_muse.muse import Muse
    from keras_muse.samplers import ConfidenceSampler

    muse = Muse.from_preset(options.preset)
    sampler = ConfidenceSampler(temperature=options.temperature)
    images = muse.generate(
        options.prompt,
        options.negative_prompt,
        num_steps=options.num_steps,
        guidance_scale=options.guidance_scale,
        seed=options.seed,
        sampler=sampler,
        super_res_sampler=sampler,
    )
    Image.fromarray(images[0]).save(options.output)
    print(options.output)
