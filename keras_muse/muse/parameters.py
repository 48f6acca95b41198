"""How a picture was drawn: put in words that its file keeps, and read again.

Parameters are a dict of plain values, as JSON knows them. Most have the names
of `Muse.generate`'s arguments. A sampler is a dict of its name and of all its
settings, for the defaults of a later version may be others.
"""

import dataclasses
import math

import keras

from keras_muse import samplers
from keras_muse.files.damage import reading
from keras_muse.files.picture_texts import OWN
from keras_muse.files.picture_texts import read_own
from keras_muse.models.transformers.decoding import DEFAULT_BATCH_SIZE
from keras_muse.models.transformers.decoding import MAX_STEPS
from keras_muse.muse import draw_options
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_guidance_scale
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_path
from keras_muse.runtime.checks import check_texts
from keras_muse.runtime.checks import show
from keras_muse.samplers.registry import NAMES
from keras_muse.samplers.sampler import Sampler
from keras_muse.samplers.seeds import NUM_SEEDS
from keras_muse.version import __version__

TASKS = ("generate", "inpaint", "outpaint", "edit")
# What a file says is drawn at once shall not fill the memory; beyond, it says
# nothing, and pixels are the same up to rounding.
MAX_BATCH_SIZE = 256


def describe(
    muse,
    prompts,
    negative_prompts=None,
    *,
    seeds,
    preset,
    options,
    task="generate",
    **others,
):
    """How pictures were drawn, in words that a file keeps.

    Args:
        muse: a `keras_muse.Muse`.
        prompts: list of strings, one per picture.
        negative_prompts: string for all, list of strings or `None`.
        seeds: ints, one per picture.
        preset: string, what the model was loaded from.
        options: `DrawOptions` with which it drew.
        task: `"generate"`, `"inpaint"`, `"outpaint"` or `"edit"`.
        **others: what else belongs to the task, plain values.

    Returns:
        List of dicts, one per picture. A PNG keeps them by the argument
        `parameters` of `keras_muse.training.draw_grid`.

    Example:
    ```python
    from keras_muse.muse import parameters
    from keras_muse.muse.draw_options import DrawOptions

    described = parameters.describe(
        muse, ["a red apple"], seeds=[1], preset="muse_emoji",
        options=DrawOptions.of(muse.generation_defaults),
    )
    ```
    """
    check_choice(task, "task", TASKS)
    if negative_prompts is None or isinstance(negative_prompts, str):
        negative_prompts = [negative_prompts] * len(prompts)
    # Pixels are the same at the same rows at once.
    rows = options.batch_size or min(len(prompts), DEFAULT_BATCH_SIZE)
    at_once = {"batch_size": rows} if rows <= MAX_BATCH_SIZE else {}
    common = {
        **_kept(muse, options),
        **at_once,
        **others,
        "preset": preset and _as_text(preset),
        "version": __version__,
        "backend": keras.config.backend(),
    }
    return [
        {
            "task": task,
            "prompt": prompt,
            "negative_prompt": negative,
            "seed": int(seed),
            **common,
        }
        for prompt, negative, seed in zip(
            prompts, negative_prompts, seeds, strict=True
        )
    ]


def _as_text(path):
    """A name of a file, which may be no text of Unicode."""
    return path.encode("utf-8", "backslashreplace").decode()


def can_be_told(options):
    """Whether the samplers of `DrawOptions` have names."""
    used = {type(options.sampler), type(options.super_res_sampler)}
    return used <= set(NAMES.values())


def _kept(muse, options):
    """Options of the stages that there are."""
    kept = {}
    for name in draw_options.KEPT:
        if muse.super_res is not None or "super_res" not in name:
            value = getattr(options, name)
            is_sampler = isinstance(value, Sampler)
            kept[name] = _whole(value) if is_sampler else value
    return kept


def _whole(sampler):
    """A sampler as a dict that leaves no setting to a default."""
    name = samplers.describe(sampler)["sampler"]
    return {"sampler": name, **sampler.get_config()}


def read_parameters(path):
    """Reads from a PNG how its picture was drawn.

    Nothing is loaded, fetched or drawn; what the file says is checked, and
    what is not known in it is left out.

    Args:
        path: string or path, of a PNG that `keras-muse` or `draw_grid` has
            written.

    Returns:
        A dict; of a sheet, a list of dicts, one per picture. `"task"` is
        `"generate"`, `"inpaint"`, `"outpaint"` or `"edit"`; `"prompt"`,
        `"negative_prompt"`, `"seed"`, `"num_steps"`, `"guidance_scale"`,
        `"sampler"`, `"super_res_num_steps"`, `"super_res_guidance_scale"`,
        `"super_res_sampler"` and `"batch_size"` say with what; `"preset"`,
        `"version"` and `"backend"` by what. A sampler is a dict of which
        `keras_muse.samplers.get(**sampler)` makes one.

    Raises:
        ValueError: if it is no PNG, keeps no parameters, or wrong ones; the
            file and the key are named.

    Example:
    ```python
    import keras_muse
    import numpy as np

    images = np.zeros((1, 8, 8, 3), "uint8")
    made = {
        "task": "generate", "prompt": "a red apple", "seed": 7,
        "num_steps": 8, "guidance_scale": 2.0,
        "sampler": {"sampler": "confidence"},
        "preset": "muse_emoji", "version": "0.1.0",
    }
    keras_muse.training.draw_grid(images, path="a.png", parameters=[made])
    keras_muse.read_parameters("a.png")[0]["seed"]  # 7
    ```
    """
    path = check_path(path, "path")
    contents = read_own(path)
    if not isinstance(contents, list):
        return _checked(contents, path)
    return [
        _checked(one, path, f" of picture {i}")
        for i, one in enumerate(contents)
    ]


def _checked(contents, path, place=""):
    """The entries that are known, each checked by its name."""
    if not isinstance(contents, dict):
        raise ValueError(
            f"`{path}` must have a JSON object as `{OWN}`{place}. Received: a "
            f"{type(contents).__name__}"
        )
    # A list may be thousands of pictures, each with little that is wrong.
    missing = [name for name in NEEDED if name not in contents]
    if missing:
        raise ValueError(f"`{path}` has no `{missing[0]}` in `{OWN}`{place}")
    checked = {}
    for name, check in ENTRIES.items():
        if name in contents:
            with reading(path, f"has a wrong `{name}` in `{OWN}`{place}"):
                checked[name] = check(contents[name], name)
    return checked


# === Each entry ===


def _check_text(value, name):
    if not isinstance(value, str):
        raise ValueError(
            f"`{name}` must be a string. Received: {name}={show(value)}"
        )
    return check_texts(value, name)[0]


def _check_text_or_none(value, name):
    return None if value is None else _check_text(value, name)


def _check_seed(value, name):
    return check_int(value, name, low=0, high=NUM_SEEDS - 1)


def _check_steps(value, name):
    return check_int(value, name, high=MAX_STEPS)


def _check_rows(value, name):
    return check_int(value, name, high=MAX_BATCH_SIZE)


def _check_sampler(value, name):
    """The settings of a sampler that its class has, and all of them."""
    kind = value.get("sampler") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in NAMES:
        raise ValueError(
            f"`{name}` must be an object with a `sampler` out of "
            f"{sorted(NAMES)}. Received: {name}={show(value)}"
        )
    fields = {x.name for x in dataclasses.fields(NAMES[kind]) if x.init}
    settings = {k: v for k, v in value.items() if k in fields}
    return _whole(samplers.get(kind, **settings))


def _check_plain(value, name):
    """Numbers and strings, or lists of them, for a person to read."""
    for one in value if isinstance(value, list) else [value]:
        number = isinstance(one, int | float) and math.isfinite(one)
        if not (number or one is None or isinstance(one, str)):
            raise ValueError(
                f"`{name}` must be a plain value. Received: {name}={show(one)}"
            )
    return value


ENTRIES = {
    "task": lambda value, name: check_choice(value, name, TASKS),
    "prompt": _check_text,
    "negative_prompt": _check_text_or_none,
    "seed": _check_seed,
    "num_steps": _check_steps,
    "super_res_num_steps": _check_steps,
    "guidance_scale": check_guidance_scale,
    "super_res_guidance_scale": check_guidance_scale,
    "sampler": _check_sampler,
    "super_res_sampler": _check_sampler,
    "batch_size": _check_rows,
    "preset": _check_text,
    "version": _check_text,
    "backend": _check_text,
    # Of the tasks that start from a picture.
    **dict.fromkeys(("image", "mask", "padding", "blend_width"), _check_plain),
}
NEEDED = (
    "task",
    "prompt",
    "seed",
    "num_steps",
    "guidance_scale",
    "sampler",
    "preset",
    "version",
)
