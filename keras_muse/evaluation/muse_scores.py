"""`evaluate`: draws the prompts of a data set and scores the pictures."""

import itertools
import math
import time

import keras
import numpy as np

from keras_muse.data import decoding
from keras_muse.data.image_text_dataset import ImageTextDataset
from keras_muse.evaluation.evaluator import Evaluator
from keras_muse.evaluation.kept_pictures import KeptPictures
from keras_muse.evaluation.protocols import Protocol
from keras_muse.evaluation.rows import size_of
from keras_muse.muse import parameters
from keras_muse.muse.best_of import check_best_of
from keras_muse.muse.draw_options import DrawOptions
from keras_muse.runtime.checks import check_batch_size
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_verbose
from keras_muse.runtime.checks import show
from keras_muse.samplers.seeds import NUM_SEEDS


def evaluate(
    muse,
    pairs,
    protocol,
    *,
    guidance_scale=None,
    num_steps=None,
    super_res_num_steps=None,
    seed=0,
    batch_size=16,
    best_of=None,
    scorer=None,
    sampler=None,
    super_res_sampler=None,
    reference_statistics=None,
    training_pairs=None,
    verbose=1,
):
    """Draws the prompts of a data set and scores the pictures.

    The prompts are the first captions of the rows that the protocol takes; the
    others may serve as references. Row `i` of those is drawn with the seed
    `seed + i`, so that settings are compared on equal noise; for independent
    draws, choose seeds that are further apart than there are rows. A row whose
    picture cannot be decoded is left out, with a warning; so is a metric that
    has no value for so few rows or prompts, with a message.

    Args:
        muse: a `keras_muse.Muse`.
        pairs: what `load_image_text` or `load_emoji` returns, unshuffled.
        protocol: a `keras_muse.evaluation.Protocol`, such as
            `PROTOCOLS["emoji"]`.
        guidance_scale: float, or list of floats to try each. Defaults to
            what the model draws with.
        num_steps: int, or list of ints to try each. Decoding steps of the
            base. Defaults to what the model draws with.
        super_res_num_steps: int, see `Muse.generate`.
        seed: int, or list of ints to try each. Defaults to `0`.
        batch_size: int. Pictures drawn at once. Defaults to `16`.
        best_of, scorer, sampler, super_res_sampler: see `Muse.generate`.
        reference_statistics: string or path. A file with the mean and the
            covariance of the references' features: an `.npz` with `mu` and
            `sigma`, as pytorch-fid writes it. Where there is no such file, it
            is written, so that the next run looks at no reference again.
            Metrics that need each true picture, such as `KernelDistance`, are
            left out where it is read. Defaults to `None`.
        training_pairs: the rows that the model was trained on, of the size of
            `pairs`. How near the drawn pictures are to the nearest of them,
            in `"nearest_distance"` and `"nearer_than_true"`, tells copies
            from drawings. Defaults to `None`.
        verbose: 0 or 1. Whether to draw a progress bar for each setting.
            Defaults to `1`.

    Returns:
        List of dicts, one per setting: `"guidance_scale"`, `"num_steps"`,
        `"seed"`, `"num_pictures"`, `"num_references"` (where it is known),
        `"image_size"` (a side, or `(height, width)` where they differ),
        `"seconds_per_picture"`, and the scores by the names of the metrics;
        `"true"`, the scores of true pictures, which are the ceiling (see
        `Scores.true_results`);
        `"shown"`, which holds `"images"`, some of the drawn pictures at their
        own size, their `"rows"` and `"texts"`, and in `"parameters"` how each
        was drawn, without `best_of`; and, with `training_pairs`,
        `"nearest"`, the drawn pictures that are nearest to a training picture
        and these.

    Raises:
        ValueError: if there are fewer rows than the protocol asks for, a
            setting cannot be drawn with, or `reference_statistics` are damaged
            or of another network or size: before the first picture is drawn.

    Example:
    ```python
    import keras_muse

    muse = keras_muse.Muse.from_preset("muse_emoji")
    pairs = keras_muse.data.load_emoji(split="test_pair", prompts="styled")
    rows = keras_muse.evaluation.evaluate(
        muse, pairs, keras_muse.evaluation.PROTOCOLS["emoji"],
        guidance_scale=[1.0, 2.0, 4.0],
    )
    ```

    Reference:
        - [Muse, section 3](https://arxiv.org/abs/2301.00704)
    """
    batch_size = check_batch_size(batch_size)
    check_verbose(verbose)
    if not isinstance(protocol, Protocol):
        raise ValueError(
            "`protocol` must be a `Protocol`, such as `PROTOCOLS['emoji']`. "
            f"Received: protocol={show(protocol)}"
        )
    _check_pairs(pairs, "pairs")
    if training_pairs is not None:
        _check_pairs(training_pairs, "training_pairs")
    own = DrawOptions.of(muse.generation_defaults)
    if guidance_scale is None:
        guidance_scale = own.guidance_scale
    if num_steps is None:
        num_steps = own.num_steps
    common = {
        "super_res_num_steps": super_res_num_steps,
        "batch_size": batch_size,
        "sampler": sampler,
        "super_res_sampler": super_res_sampler,
        "verbose": 0,
    }
    settings = [
        ({"guidance_scale": scale, "num_steps": steps, **common}, first_seed)
        for scale, steps, first_seed in itertools.product(
            *map(_as_list, (guidance_scale, num_steps, seed))
        )
    ]
    # What is wrong of the last setting shows before the first is drawn.
    num_candidates = 1
    if (best_of, scorer) != (None, None):
        num_candidates = check_best_of(best_of, scorer, 1, {"prompts": ()})
    _check_seeds(_as_list(seed), pairs.num_examples * num_candidates)
    for options, _ in settings:
        DrawOptions.of(muse.generation_defaults, **options)
    _check_each_once(_as_list(guidance_scale), "guidance_scale")
    _check_each_once(_as_list(num_steps), "num_steps")
    evaluator = Evaluator(pairs, protocol, reference_statistics, training_pairs)
    rows = []
    for options, first_seed in settings:
        setting = {
            "guidance_scale": options["guidance_scale"],
            "num_steps": options["num_steps"],
            "seed": first_seed,
        }
        if verbose:
            print(", ".join(f"{k}={value}" for k, value in setting.items()))
        row = _draw_and_score(
            muse, evaluator, first_seed, options, best_of, scorer, verbose
        )
        if verbose:  # the next setting may take hours, and be interrupted
            print(_in_words(row))
        rows.append({**setting, **row, "true": evaluator.true})
    return rows


def _check_pairs(pairs, argument):
    if not isinstance(pairs, ImageTextDataset) or not pairs.num_examples:
        raise ValueError(
            f"`{argument}` must be captioned pictures, as `load_image_text` "
            f"gives them, at least one. Received: {argument}={show(pairs)}"
        )


def _check_seeds(seeds, num_images):
    for one in seeds:
        check_int(one, "seed", low=0, high=NUM_SEEDS - num_images)
    why = ": the spread over seeds would be too small"
    _check_each_once(seeds, "seed", why)


def _check_each_once(values, argument, why=""):
    if not values:
        raise ValueError(
            f"`{argument}` must not be empty. Received: {argument}={values}"
        )
    if len(set(values)) < len(values):
        raise ValueError(
            f"`{argument}` must not contain duplicates{why}. Received: "
            f"{argument}={values}"
        )


def _as_list(values):
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return values.tolist()
    is_several = isinstance(values, list | tuple | range)
    return list(values) if is_several else [values]


def _draw_and_score(
    muse, evaluator, first_seed, options, best_of, scorer, verbose
):
    """One setting: a dict of scores, and what is to be looked at."""
    evaluator.reset()
    pairs, batch_size = evaluator.rows, options["batch_size"]
    num_rows, seconds = pairs.num_examples, 0.0
    shown = KeptPictures(num_rows, evaluator.copies)
    progress = keras.utils.Progbar(num_rows, verbose=verbose, unit_name="row")
    for start in range(0, num_rows, batch_size):
        rows = range(start, min(start + batch_size, num_rows))
        true, texts = pairs.select(rows).as_arrays()
        begin = time.perf_counter()
        drawn = muse.generate(
            texts,
            seed=_seeds(first_seed, rows, best_of),
            best_of=best_of,
            scorer=scorer,
            **options,
        )
        seconds += time.perf_counter() - begin
        at_size = decoding.resize(drawn, true.shape[1:3])
        evaluator.update(true, at_size, texts)
        shown.update(rows, drawn, at_size, texts)
        progress.update(rows.stop)
    found = shown.results()
    used = DrawOptions.of(muse.generation_defaults, **options)
    # With `best_of` nobody knows which candidate it was; and a sampler of
    # somebody's own has no name to be remembered by.
    if best_of is None and parameters.can_be_told(used):
        found["shown"]["parameters"] = parameters.describe(
            muse,
            found["shown"]["texts"],
            seeds=_seeds(first_seed, found["shown"]["rows"]),
            preset=None,  # no `Muse` knows it: see `draw_sheet`
            options=used,
        )
    return {
        "num_pictures": num_rows,
        **_known("num_references", evaluator.scores.num_references),
        "image_size": size_of(true),
        "seconds_per_picture": seconds / num_rows,
        **evaluator.results(),
        **found,
    }


def _in_words(row):
    """The scores of a setting in one line."""
    scores = [(k, v) for k, v in row.items() if isinstance(v, float)]
    return ", ".join(f"{name}={value:.4g}" for name, value in scores)


def _known(name, number):
    """Of a file that does not say how many pictures it is of, nothing."""
    return {name: number} if math.isfinite(number) else {}


def _seeds(seed, rows, num_candidates=None):
    num_candidates = num_candidates or 1
    return [
        seed + row * num_candidates + i
        for row in rows
        for i in range(num_candidates)
    ]
