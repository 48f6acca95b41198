"""`keras-muse generate`."""

from keras_muse.commands import drawing
from keras_muse.commands import picture_files

HELP = "draw pictures from prompts"
DESCRIPTION = (
    "Draws pictures from prompts; or again, from what a picture remembers."
)


def add_arguments(command):
    command.add_argument("prompts", nargs="*", metavar="PROMPT")
    command.add_argument(
        "--from",
        dest="source",
        metavar="PICTURE",
        help="a PNG that remembers how it was drawn: draw it again; options "
        "given here replace those that it remembers",
    )
    drawing.add_arguments(command)
    drawing.add_decoding_arguments(command)
    command.add_argument(
        "--best-of",
        type=int,
        metavar="N",
        help="draw N pictures of each prompt and keep those that "
        "`emoji_scorer` likes best (default: draw no more than are kept)",
    )


def check(options):
    if not options.prompts and options.source is None:
        options.usage.error("a PROMPT is required, or `--from PICTURE`")
    picture_files.check(options)
    best_of, num_images = options.best_of, options.num_images
    if best_of is not None and 0 < best_of < num_images:
        raise ValueError(
            "`--best-of` must be at least `--num-images`. Received: --best-of "
            f"{best_of}, --num-images {num_images}"
        )


def run(options):
    from keras_muse.commands import redraw
    from keras_muse.commands import sampler_options
    from keras_muse.muse.muse import Muse
    from keras_muse.runtime.checks import check_batch_size

    sampler_options.check(options)
    if options.best_of is not None:
        check_batch_size(options.best_of, "best_of")
    rows, preset = redraw.rows_and_preset(options)
    picture_files.check_output(options, len(rows) * options.num_images)
    drawing.check_given(options)
    seeds = redraw.seeds_of(rows, options)
    muse = Muse.from_preset(preset)
    images, made = [None] * len(rows), [None] * len(rows)
    for numbers in redraw.alike(rows):
        group = [rows[i] for i in numbers]
        drawn = _draw(muse, group, seeds[numbers].ravel(), preset, options)
        for k, i in enumerate(numbers):
            part = slice(k * options.num_images, (k + 1) * options.num_images)
            images[i], made[i] = (x[part] for x in drawn)
    picture_files.save(sum(map(list, images), []), sum(made, []), options)


def _draw(muse, rows, seeds, preset, options):
    """Pictures of rows that have the same options, and how each was drawn."""
    from keras_muse.commands import redraw
    from keras_muse.models.transformers.decoding import DEFAULT_BATCH_SIZE
    from keras_muse.muse import parameters
    from keras_muse.muse.best_of import best_rows
    from keras_muse.muse.draw_options import DrawOptions

    prompts = [row.prompt for row in rows]
    negative = [row.negative_prompt for row in rows]
    negative = None if None in negative else negative  # all of them, or none
    given = redraw.changed(rows[0].given, drawing.given_arguments(options))
    given.setdefault("batch_size", min(len(seeds), DEFAULT_BATCH_SIZE))
    used = DrawOptions.of(muse.generation_defaults, **given)
    given |= used.other_samplers(options.sampler, options.temperature)
    used = DrawOptions.of(muse.generation_defaults, **given)
    score, scores = _scorer(options)
    images = muse.generate(
        prompts,
        negative,
        seed=seeds,
        num_images_per_prompt=options.num_images,
        best_of=options.best_of,
        scorer=score,
        **given,
    )
    if scores is not None:  # then seeds are those of all candidates
        seeds = seeds[best_rows(scores[0], len(rows), options.num_images)]
    each = [row for row in rows for _ in range(options.num_images)]
    made = parameters.describe(
        muse,
        [row.prompt for row in each],
        [row.negative_prompt for row in each],
        seeds=seeds,
        preset=preset,
        options=used,
    )
    return images, made


def _scorer(options):
    """What likes pictures, and a list that shall hold what it said of them."""
    if options.best_of is None:
        return None, None
    from keras_muse.models import PictureTextScorer

    scorer, scores = PictureTextScorer.from_preset("emoji_scorer"), []

    def score(images, prompts):
        scores.append(scorer.score(images, prompts))
        return scores[-1]

    return score, scores
