"""Pictures that are drawn again, from what a file remembers of them.

A file may come from anybody. What it says is shown before anything is done,
and nothing that it names is fetched unless the person names it, too.
"""

import dataclasses
import itertools
import os

from keras_muse.commands.drawing import preset_of

NUM_SHOWN = 4  # of the pictures of a sheet


@dataclasses.dataclass(frozen=True)
class Row:
    """A prompt, and with what it is drawn.

    Attributes:
        prompt, negative_prompt: strings; the latter may be `None`.
        seed: int, or `None` where nothing is remembered.
        given: dict of arguments of `Muse.generate`, the same for many.
    """

    prompt: str
    negative_prompt: str | None = None
    seed: int | None = None
    given: dict = dataclasses.field(default_factory=dict)


def rows_and_preset(options):
    """What the command line asks for: a list of `Row`, and of which model."""
    if options.source is None:
        rows = [Row(x, options.negative_prompt) for x in options.prompts]
        return rows, preset_of(options)
    made = _made(options.source)
    preset = _preset(made, options)
    rows = [_row(one, options.negative_prompt) for one in made]
    if options.prompts:
        if len(rows) > 1:
            raise ValueError(
                "A PROMPT takes the place of that of one picture. Received: "
                f"`{options.source}`, a sheet of {len(rows)}"
            )
        rows = [dataclasses.replace(rows[0], prompt=x) for x in options.prompts]
    _show(rows, seeds_of(rows, options)[:, 0], preset, made, options)
    return rows, preset


def seeds_of(rows, options):
    """A seed for each candidate, of shape `(num_rows, num_candidates)`."""
    import numpy as np

    from keras_muse.samplers.seeds import image_seeds

    count = options.best_of or options.num_images
    if options.seed is None and options.source is not None:
        return np.stack([image_seeds(row.seed, count) for row in rows])
    seeds = image_seeds(options.seed, len(rows) * count)
    return seeds.reshape(len(rows), count)


def alike(rows):
    """Numbers of the rows that one call draws, as lists."""

    def kind(i):
        is_negative = rows[i].negative_prompt is not None
        return repr(sorted(rows[i].given.items())), is_negative

    numbers = sorted(range(len(rows)), key=kind)
    return [list(group) for _, group in itertools.groupby(numbers, kind)]


def changed(remembered, given):
    """Arguments that a picture remembers, but for those that are given.

    Where the second stage had the guidance of the first, it was told none of
    its own, and has what it has without.

    Args:
        remembered, given: dicts of arguments of `Muse.generate`.
    """
    first, second = "guidance_scale", "super_res_guidance_scale"
    kept = dict(remembered)
    if first in given and kept.get(first) == kept.get(second):
        kept.pop(second, None)
    return {**kept, **given}


def _made(path):
    """Parameters of the pictures of a file, as a list."""
    from keras_muse.muse.parameters import read_parameters

    made = read_parameters(path)
    made = made if isinstance(made, list) else [made]
    if not made:
        raise ValueError(f"`{path}` remembers of no picture how it was drawn")
    for one in made:
        if one["task"] != "generate":
            raise ValueError(
                f"`{path}` was drawn by `{one['task']}` from a picture that it "
                "does not hold: repeat that command. Received: its `task`, "
                f"{one['task']!r}"
            )
    return made


def _row(made, negative_prompt):
    from keras_muse.muse import draw_options

    names = (*draw_options.KEPT, "batch_size")
    given = {name: made[name] for name in names if name in made}
    if negative_prompt is None:
        negative_prompt = made.get("negative_prompt")
    return Row(
        made["prompt"],
        negative_prompt,
        made["seed"],
        draw_options.from_json(given),
    )


def _preset(made, options):
    """The preset to load: bundled, on this machine, or named by the person."""
    from keras_muse.models.presets.architectures import BUNDLED

    if options.preset is not None:
        return options.preset
    names = sorted({one["preset"] for one in made})
    if len(names) > 1:
        raise ValueError(
            f"`{options.source}` has pictures of several presets; choose by "
            f"`--preset`. Received: its `preset`, {names[:NUM_SHOWN]}"
        )
    # A name such as //host/share is asked for on the net.
    is_far = "://" in names[0] or names[0][:2] in ("//", r"\\")
    if names[0] in BUNDLED or (not is_far and _is_directory(names[0])):
        return names[0]
    raise ValueError(
        f"`{options.source}` names a `preset` that is neither bundled nor a "
        "directory here; nothing is fetched because a picture says so: choose "
        f"one by `--preset`. Received: its `preset`, {names[0]!r}"
    )


def _is_directory(path):
    return "\0" not in path and os.path.isdir(path)


def _show(rows, seeds, preset, made, options):
    """What is about to be drawn, and what may make it come out otherwise."""
    import keras

    from keras_muse.runtime.checks import show
    from keras_muse.version import __version__

    print(f"From {options.source}, with the preset {show(preset)}:")
    for row, seed in list(zip(rows, seeds, strict=True))[:NUM_SHOWN]:
        print(f"  {show(row.prompt)}, seed {seed}")
    if len(rows) > NUM_SHOWN:
        print(f"  and {len(rows) - NUM_SHOWN} more")
    here = {"version": __version__, "backend": keras.config.backend()}
    for name, value in here.items():
        others = {one[name] for one in made if name in one} - {value}
        if others:
            print(
                f"Drawn with the {name} {show(min(others))}, and here with "
                f"{value!r}: pixels may differ"
            )
