"""`keras-muse evaluate`."""

import dataclasses
import functools
import os

from keras_muse.commands import sampler_options
from keras_muse.files.places import check_place

HELP = "draw the prompts of a data set and score the pictures"
DESCRIPTION = (
    "Draws and scores; writes scores.json, scores.md and a contact sheet and, "
    "for several settings of a protocol that compares pictures with their "
    "texts, the Pareto curve."
)
SETTINGS = ("preset", "data", "protocol")


def add_arguments(command):
    command.add_argument(
        "preset",
        metavar="PRESET",
        help="directory or handle of a Muse, or muse_emoji",
    )
    command.add_argument(
        "--data",
        default="emoji",
        help="what `load_image_text` reads, captioned pictures; or 'emoji', "
        "the bundled drawings, or 'emoji:DIR', a folder of them "
        "at another size",
    )
    command.add_argument(
        "--training-data",
        metavar="DATA",
        help="what the model was trained on, in the form of --data (its rows "
        "of the split 'train', if it has splits): tells how near the drawn "
        "pictures are to the nearest of these, beside true ones that were "
        "never trained on",
    )
    command.add_argument(
        "--image-size",
        type=int,
        help="pixels a side at which pictures are compared (default: the "
        "protocol's, else those of the data)",
    )
    command.add_argument(
        "--output", required=True, help="directory for the report"
    )
    command.add_argument(
        "--protocol",
        choices=("emoji", "pictures", "coco", "cc3m"),
        help="which metrics, with which networks, on how many pictures "
        "(default: emoji for the emoji, as its scorer knows nothing else; "
        "pictures for other data)",
    )
    command.add_argument(
        "--reference-statistics",
        metavar="FILE",
        help=".npz with the mean and covariance (mu, sigma) of the true "
        "pictures' features, as pytorch-fid writes it; written if it is not "
        "there",
    )
    command.add_argument(
        "--network",
        metavar="FILE",
        help="weights of the network of the distances, with their published "
        "names (default: the bundled EfficientNet-Lite0; for coco and cc3m "
        "FID's Inception, downloaded once)",
    )
    command.add_argument(
        "--second-network",
        metavar="FILE",
        help=".safetensors of torchvision's VGG16, which no loss of the "
        "defaults has seen: takes the distances again, as second_...",
    )
    command.add_argument(
        "--second-scorer",
        metavar="PRESET",
        help="another `PictureTextScorer` for second_r_precision; one with a "
        "network of its own takes the distances again, too",
    )
    command.add_argument(
        "--split",
        nargs="+",
        help="rows to draw (default: test_pair and test_concept of the emoji; "
        "of other data those whose split is not train, or all)",
    )
    command.add_argument(
        "--num-prompts",
        type=int,
        help="how many rows of a split to draw (default: 30,000 for coco, else "
        "all)",
    )
    command.add_argument(
        "--guidance-scale",
        type=float,
        nargs="+",
        help="several draw the Pareto curve (default: what suits the model)",
    )
    command.add_argument(
        "--num-steps",
        type=int,
        nargs="+",
        help="decoding steps; several draw the Pareto curve, too (default: "
        "what suits the model)",
    )
    command.add_argument(
        "--super-res-num-steps",
        type=int,
        help="steps of the super-resolution model (default: what suits the "
        "model)",
    )
    sampler_options.add_arguments(command)
    command.add_argument(
        "--batch-size", type=int, default=16, help="pictures drawn at once"
    )
    command.add_argument(
        "--seed",
        type=int,
        nargs="+",
        default=[0],
        help="row i of a split is drawn with SEED + i; several, as in 0 1000 "
        "2000, give means and spreads",
    )


def run(options):
    """Draws, scores and writes the report.

    Args:
        options: what the command line says, as attributes.
    """
    from keras_muse.evaluation import report
    from keras_muse.evaluation.muse_scores import evaluate
    from keras_muse.evaluation.protocols import PROTOCOLS
    from keras_muse.evaluation.rows import rows_to_draw
    from keras_muse.muse.draw_options import DrawOptions
    from keras_muse.muse.muse import Muse

    if options.protocol is None:
        options.protocol = "emoji" if _is_emoji(options.data) else "pictures"
    protocol = _changed(PROTOCOLS[options.protocol], options)
    sampler_options.check(options)
    _check_statistics(options)
    # What can be wrong with them shows before the first picture is drawn.
    collections = _load_collections(options, protocol)
    _check_num_prompts(options.num_prompts, collections)
    training_pairs = _load_training_pairs(options, protocol)
    muse = Muse.from_preset(options.preset)
    own = DrawOptions.of(muse.generation_defaults)
    samplers = own.other_samplers(options.sampler, options.temperature)
    about = {
        **{name: getattr(options, name) for name in SETTINGS},
        **_draw_settings(muse, options, samplers),
    }
    rows, reconstructions = [], []
    for split, pairs in collections.items():
        print(f"\n{split}: {pairs.num_examples} rows")
        scores = evaluate(
            muse,
            pairs,
            protocol,
            guidance_scale=options.guidance_scale,
            num_steps=options.num_steps,
            super_res_num_steps=options.super_res_num_steps,
            seed=options.seed,
            batch_size=options.batch_size,
            **samplers,
            reference_statistics=options.reference_statistics,
            training_pairs=training_pairs,
        )
        rows += [{"split": split, **row} for row in scores]
        reconstructions += _reconstructions(
            muse, split, rows_to_draw(pairs, protocol), protocol
        )
        # After each split: the next one may take hours, and fail.
        others = report.write_report(
            options.output, rows, reconstructions, about
        )
    print(*others, sep="\n")
    print(f"\n{options.output}/scores.md")


def _changed(protocol, options):
    """A protocol, but for what the command line says otherwise."""
    from keras_muse.evaluation import judging_networks
    from keras_muse.evaluation.protocols import with_second_scorer

    changes = {}
    if options.num_prompts is not None:
        changes["num_prompts"] = options.num_prompts
    if options.network is not None:
        changes["feature_network"] = functools.partial(
            protocol.feature_network, options.network
        )
    if options.second_network is not None:
        changes["second_network"] = functools.partial(
            judging_networks.vgg16, options.second_network
        )
    protocol = dataclasses.replace(protocol, **changes)
    if options.second_scorer is None:
        return protocol
    scorer = judging_networks.scorer(options.second_scorer)
    return with_second_scorer(protocol, scorer)


def _draw_settings(muse, options, samplers):
    """What is drawn with, whether it was asked for or suits the model."""
    from keras_muse.muse.draw_options import DrawOptions

    used = DrawOptions.of(
        muse.generation_defaults,
        super_res_num_steps=options.super_res_num_steps,
        **samplers,
    )
    steps = {"super_res_num_steps": used.super_res_num_steps}
    return {
        **({} if muse.super_res is None else steps),
        "sampler": type(used.sampler).__name__,
        "temperature": used.sampler.temperature,
    }


def _load_collections(options, protocol):
    """The rows to draw, by split."""
    from keras_muse import data
    from keras_muse.data.emoji import SPLITS

    common = {"image_size": _image_size(options, protocol), "shuffle": False}
    if _is_emoji(options.data):
        held_out = [split for split in SPLITS if split != "train"]
        load, splits = data.load_emoji, options.split or held_out
        common["directory"] = _directory(options.data)
        common["prompts"] = "styled"
    else:
        load, splits = data.load_image_text, options.split
        common["path"] = options.data
    if not splits:
        return _not_trained_on(load(**common))
    return {split: load(split=split, **common) for split in splits}


def _not_trained_on(pairs):
    """All rows; where some have the split 'train', the others alone."""
    trained, others = pairs.hold_out(0)
    if not trained.num_examples or not others.num_examples:
        return {"all": pairs}
    print(
        f"Those {others.num_examples} of {pairs.num_examples} rows are drawn "
        "whose split is not 'train'; --split draws others"
    )
    return {"held out": others}


def _is_emoji(name):
    """Whether a name of data is 'emoji' or 'emoji:DIR'."""
    return name.partition(":")[0] == "emoji"


def _directory(name):
    """The folder of 'emoji:DIR', `None` for the bundled drawings."""
    return name.partition(":")[2] or None


def _image_size(options, protocol):
    given = options.image_size
    return protocol.image_size if given is None else given


def _load_training_pairs(options, protocol):
    """What the model was trained on, or `None` where that is not told."""
    from keras_muse import data

    if options.training_data is None:
        return None
    image_size = _image_size(options, protocol)
    if _is_emoji(options.training_data):
        return data.load_emoji(
            _directory(options.training_data),
            image_size,
            split="train",
            shuffle=False,
        )
    pairs = data.load_image_text(
        options.training_data, image_size=image_size, shuffle=False
    )
    trained, others = pairs.hold_out(0)
    if not trained.num_examples:
        raise ValueError(
            "`--training-data` must have rows of the split 'train', where rows "
            f"have a split. Received: {others.num_examples} rows of other "
            "splits"
        )
    return trained


def _check_num_prompts(num_prompts, collections):
    for split, pairs in collections.items():
        if num_prompts is not None and num_prompts > pairs.num_examples:
            raise ValueError(
                "`--num-prompts` must be at most the rows that are there. "
                f"Received: --num-prompts {num_prompts}, and "
                f"{pairs.num_examples} rows of {split!r}"
            )


def _check_statistics(options):
    path = options.reference_statistics
    if path is None:
        return
    num_splits = len(options.split or ())
    if num_splits > 1 or (_is_emoji(options.data) and not num_splits):
        raise ValueError(
            "`--reference-statistics` are of one set of pictures: name one "
            f"`--split`. Received: --split {options.split or 'none'}"
        )
    if not os.path.isfile(path):  # else it is read
        check_place(path)


def _reconstructions(muse, split, pairs, protocol):
    from keras_muse.evaluation.tokenizer_scores import evaluate_tokenizer

    tokenizers = {
        "image_tokenizer": muse.image_tokenizer,
        "high_res_image_tokenizer": muse.high_res_image_tokenizer,
    }
    network = protocol.feature_network()
    size = next(pairs.iterate_rows())["image"].shape[:2]
    rows = []
    for name, tokenizer in tokenizers.items():
        if tokenizer is None:
            continue
        # Drawn pictures are compared at any size; tokens need one that fits.
        factor = tokenizer.downsampling_factor
        if any(side % factor for side in size):
            print(f"{name} is left out: {size} is no multiple of {factor}")
            continue
        scores = evaluate_tokenizer(tokenizer, pairs, network)
        rows.append({"split": split, "part": name, **scores})
    return rows
