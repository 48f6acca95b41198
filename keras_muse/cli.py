"""The command line: `keras-muse quickstart`, `generate` and others."""

import argparse
import contextlib
import os
import sys

from keras_muse.runtime.compilation_cache import enable_compilation_cache
from keras_muse.runtime.quiet_imports import import_keras
from keras_muse.runtime.quiet_imports import without_tensorflow

# What suits `muse_emoji`. A large model has more use for guidance, and `Muse`
# itself has the paper's temperature, 1.
GUIDANCE_SCALE = 2.0
TEMPERATURE = 0.5


def main(arguments=None):
    """Runs the command line.

    The backend is `KERAS_BACKEND` if set, else JAX.

    Args:
        arguments: list of strings. Defaults to those of the process.
    """
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options = _parser().parse_args(arguments)
    enable_compilation_cache()
    needs_tensorflow = options.run is not _generate
    scope = contextlib.nullcontext if needs_tensorflow else without_tensorflow
    try:
        with scope():
            import_keras()
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
        "--preset",
        default="muse_emoji",
        help="directory or handle of a Muse (muse_emoji, the bundled one)",
    )
    command.add_argument("--output", required=True, help="the PNG to write")
    command.add_argument("--negative-prompt")
    command.add_argument("--guidance-scale", type=float, default=GUIDANCE_SCALE)
    command.add_argument("--num-steps", type=int, default=24)
    _add_sampler_options(command)
    command.add_argument(
        "--best-of",
        type=int,
        metavar="N",
        help="draw N pictures and keep the one that `emoji_scorer` likes best",
    )
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=_generate)

    command = commands.add_parser(
        "tokenize",
        help="turn captioned pictures into token shards",
        description="Tokenizes a collection, to train on. Run by several "
        "processes, each does its part; started again after a kill, it keeps "
        "what is done.",
    )
    _add_tokenize_options(command)
    command.set_defaults(run=_tokenize)

    command = commands.add_parser(
        "evaluate",
        help="draw the prompts of a data set and score the pictures",
        description="Writes scores.json, scores.md, a contact sheet and, of "
        "several settings, the Pareto curve.",
    )
    _add_evaluate_options(command)
    command.set_defaults(run=_evaluate)

    command = commands.add_parser(
        "convert",
        help="turn published weights into a preset",
        description="Converts what others have published, and reports how "
        "near each model is to its original where that is installed "
        "(diffusers or transformers, with torch).",
    )
    command.add_argument(
        "source", metavar="SOURCE", help="directory or handle, as hf://..."
    )
    command.add_argument(
        "--output", required=True, help="directory for the preset"
    )
    command.set_defaults(run=_convert)
    return parser


def _add_sampler_options(command):
    command.add_argument(
        "--sampler",
        default="confidence",
        help="how tokens are revealed: confidence, halton, remdm or amused "
        "(confidence)",
    )
    command.add_argument("--temperature", type=float, default=TEMPERATURE)


def _add_tokenize_options(command):
    command.add_argument(
        "pictures",
        metavar="PICTURES",
        help="what `load_image_text` reads: a folder, a .csv, .tar or .zip, "
        "'tfds:NAME'; or 'emoji', the bundled drawings",
    )
    command.add_argument(
        "--output", required=True, help="directory for the shards"
    )
    command.add_argument(
        "--preset",
        required=True,
        help="directory or handle of a Muse; only its tokenizers and its text "
        "encoder are loaded",
    )
    command.add_argument("--split", help="the rows to take (all)")
    command.add_argument(
        "--image-size", type=int, help="pixels a side (those of the pictures)"
    )
    command.add_argument(
        "--high-res-image-size",
        type=int,
        help="pixels a side, for the super-resolution model's tokens (none)",
    )
    command.add_argument("--num-views", type=int, default=1)
    command.add_argument(
        "--crop-scale", type=float, nargs=2, default=(0.7, 1.0)
    )
    command.add_argument("--random-flip", action="store_true")
    command.add_argument("--rows-per-shard", type=int, default=8192)
    command.add_argument(
        "--batch-size", type=int, default=32, help="pictures a device (32)"
    )
    command.add_argument("--store", default="text_embeddings")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--overwrite", action="store_true")
    command.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="of process 0, for several processes; not needed where JAX finds "
        "them itself, as on Cloud TPU, Slurm and Open MPI",
    )
    command.add_argument("--num-processes", type=int)
    command.add_argument("--process-id", type=int)


def _add_evaluate_options(command):
    command.add_argument(
        "preset",
        metavar="PRESET",
        help="directory or handle of a Muse, or muse_emoji",
    )
    command.add_argument(
        "--data",
        default="emoji",
        help="what `load_image_text` reads, captioned pictures; or 'emoji', "
        "the bundled drawings (the default), or 'emoji:DIR', a folder of them "
        "at another size",
    )
    command.add_argument(
        "--image-size",
        type=int,
        help="pixels a side at which pictures are compared (the protocol's, "
        "else those of the data)",
    )
    command.add_argument(
        "--output", required=True, help="directory for the report"
    )
    command.add_argument(
        "--protocol",
        choices=("emoji", "coco", "cc3m"),
        default="emoji",
        help="which metrics, with which networks, on how many pictures",
    )
    command.add_argument(
        "--split",
        nargs="+",
        help="rows to draw (test_pair and test_concept of the emoji)",
    )
    command.add_argument(
        "--num-prompts", type=int, help="rows of a split, evenly spread"
    )
    command.add_argument(
        "--guidance-scale", type=float, nargs="+", default=[GUIDANCE_SCALE]
    )
    command.add_argument("--num-steps", type=int, nargs="+", default=[24])
    command.add_argument("--super-res-num-steps", type=int, default=8)
    _add_sampler_options(command)
    command.add_argument("--batch-size", type=int, default=16)
    command.add_argument(
        "--seed",
        type=int,
        nargs="+",
        default=[0],
        help="row i of a split has SEED + i; several, as in 0 1000 2000, give "
        "means and spreads",
    )


def _quickstart(options):
    from keras_muse.quickstart import quickstart

    if not 0 < options.minutes < float("inf"):
        raise ValueError(
            "`--minutes` must be a number above 0. Received: "
            f"--minutes {options.minutes}"
        )
    quickstart(options.output, options.minutes, options.seed)


def _generate(options):
    _check_picture_name(options.output)
    from PIL import Image

    from keras_muse import samplers
    from keras_muse.muse import Muse
    from keras_muse.training.pictures import save_picture

    sampler = samplers.get(options.sampler, temperature=options.temperature)
    muse = Muse.from_preset(options.preset)
    scorer = None
    if options.best_of is not None:
        from keras_muse.models import PictureTextScorer

        scorer = PictureTextScorer.from_preset("emoji_scorer").score
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


def _tokenize(options):
    from keras_muse.data import processes
    from keras_muse.data import write_token_shards

    # Before anything else asks for a device.
    processes.join(
        options.coordinator, options.num_processes, options.process_id
    )
    from keras_muse.muse_preset import load_parts

    pairs = _load_pictures(options)
    parts = load_parts(
        options.preset,
        names=["text_encoder", "image_tokenizer", "high_res_image_tokenizer"],
    )
    tokenizer = high_res_tokenizer = parts["image_tokenizer"]
    if options.high_res_image_size is None:
        high_res_tokenizer = None
    elif "high_res_image_tokenizer" in parts:
        high_res_tokenizer = parts["high_res_image_tokenizer"]
    report = write_token_shards(
        pairs,
        options.output,
        tokenizer,
        parts["text_encoder"],
        high_res_tokenizer=high_res_tokenizer,
        image_size=options.image_size,
        high_res_image_size=options.high_res_image_size,
        num_views=options.num_views,
        crop_scale=tuple(options.crop_scale),
        random_flip=options.random_flip,
        rows_per_shard=options.rows_per_shard,
        batch_size=options.batch_size,
        store=options.store,
        seed=options.seed,
        overwrite=options.overwrite,
    )
    print(
        f"{options.output}: {report['num_records']} pictures, "
        f"{report['num_skipped']} skipped"
    )


def _evaluate(options):
    from keras_muse.evaluation.command import run

    run(options)


def _convert(options):
    from keras_muse.converters import convert

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


def _load_pictures(options):
    """Pictures as they are, and not opened before they are tokenized."""
    from keras_muse.data import load_emoji
    from keras_muse.data import load_image_text

    if options.pictures == "emoji":
        return load_emoji(split=options.split or "train")
    return load_image_text(options.pictures, split=options.split, verify=None)
