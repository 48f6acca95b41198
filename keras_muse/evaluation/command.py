"""`keras-muse evaluate`."""

import dataclasses

from keras_muse import data
from keras_muse import samplers
from keras_muse.evaluation.muse_scores import evaluate
from keras_muse.evaluation.protocols import PROTOCOLS
from keras_muse.evaluation.report import write_report
from keras_muse.evaluation.tokenizer_scores import evaluate_tokenizer
from keras_muse.muse import Muse

SETTINGS = (
    "preset",
    "data",
    "protocol",
    "super_res_num_steps",
    "sampler",
    "temperature",
)


def run(options):
    """Draws, scores and writes the report.

    Args:
        options: what the command line says, as attributes.
    """
    protocol = PROTOCOLS[options.protocol]
    if options.num_prompts is not None:
        protocol = dataclasses.replace(
            protocol, num_prompts=options.num_prompts
        )
    sampler = samplers.get(options.sampler, temperature=options.temperature)
    # What can be wrong with them shows before the first picture is drawn.
    collections = _load_collections(options, protocol)
    muse = Muse.from_preset(options.preset)
    about = {name: getattr(options, name) for name in SETTINGS}
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
            sampler=sampler,
            super_res_sampler=sampler,
        )
        rows += [{"split": split, **row} for row in scores]
        reconstructions += _reconstructions(muse, split, pairs, protocol)
        # After each split: the next one may take hours, and fail.
        write_report(options.output, rows, reconstructions, about)
    print(f"\n{options.output}/scores.md")


def _load_collections(options, protocol):
    """The rows to draw, by split."""
    kind, _, directory = options.data.partition(":")
    if kind == "emoji":
        load, splits = data.load_emoji, ("test_pair", "test_concept")
        common = {"directory": directory or None, "prompts": "styled"}
    else:
        load, splits = data.load_image_text, (None,)
        common = {"path": options.data}
    common["image_size"] = options.image_size or protocol.image_size
    collections = {}
    for split in options.split or splits:
        pairs = load(split=split, shuffle=False, **common)
        if protocol.num_prompts is not None:
            pairs = pairs.select_evenly(protocol.num_prompts)
        collections[split or "all"] = pairs
    return collections


def _reconstructions(muse, split, pairs, protocol):
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
