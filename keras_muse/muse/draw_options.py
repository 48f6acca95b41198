"""How a `Muse` draws: the options of `generate` that are no inputs."""

import dataclasses
import inspect
from collections.abc import Callable

from keras_muse import samplers
from keras_muse.models.transformers.decoding import MAX_STEPS
from keras_muse.runtime.checks import check_batch_size
from keras_muse.runtime.checks import check_function
from keras_muse.runtime.checks import check_guidance_scale
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_verbose
from keras_muse.runtime.checks import show
from keras_muse.samplers.confidence_sampler import ConfidenceSampler
from keras_muse.samplers.resampling_sampler import ResamplingSampler
from keras_muse.samplers.sampler import Sampler

# Those that suit a model, and not a machine or a person: a preset keeps them.
KEPT = (
    "num_steps",
    "super_res_num_steps",
    "guidance_scale",
    "super_res_guidance_scale",
    "sampler",
    "super_res_sampler",
)
SAMPLERS = ("sampler", "super_res_sampler")
# What `Muse.edit` has of its own: no preset keeps it.
OF_ROUNDS = ("num_rounds", "mask_ratio", "top_k", "guidance_scale")


@dataclasses.dataclass(frozen=True)
class DrawOptions:
    """Checked options, of both stages; the steps are the paper's.

    Attributes:
        num_steps, ..., verbose: see `Muse.generate`.
    """

    num_steps: int = 24
    super_res_num_steps: int = 8
    guidance_scale: float = 3.0
    super_res_guidance_scale: float | None = None
    sampler: Sampler | str = ConfidenceSampler()
    super_res_sampler: Sampler | str = ConfidenceSampler()
    batch_size: int | None = None
    callback: Callable | None = None
    verbose: int | str = "auto"

    @classmethod
    def of(cls, defaults, **given):
        """Options that are given, then `defaults`, then those above.

        A temperature suits a model and not a sampler: one that is given by its
        name draws at the temperature of the model's own, and is that one if it
        is of that name; one that is given as a `Sampler` draws as it is.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(given) - set(known)):
            raise TypeError(
                f"There are no options but {known}. Received: {unknown}"
            )
        given = {name: x for name, x in given.items() if x is not None}
        for name in SAMPLERS:
            if isinstance(given.get(name), str):
                given[name] = cls(**defaults)._sampler(name, given[name])
        return cls(**{**defaults, **given})

    @classmethod
    def of_rounds(cls, defaults, *, num_rounds, mask_ratio, top_k, **given):
        """Options of `Muse.edit`, whose base draws in rounds."""
        return cls.of(
            defaults,
            num_steps=check_int(num_rounds, "num_rounds", high=MAX_STEPS),
            sampler=ResamplingSampler(
                mask_ratio=mask_ratio, top_k=top_k, guidance_schedule="constant"
            ),
            **given,
        )

    def other_samplers(self, sampler=None, temperature=None):
        """The samplers of both stages, where others are asked for.

        Args:
            sampler: string or `None`. Its name; see `of`.
            temperature: float or `None`.

        Returns:
            A dict of options, empty where nothing is asked for.
        """
        if sampler is None and temperature is None:
            return {}
        return {
            name: self._sampler(name, sampler, temperature) for name in SAMPLERS
        }

    def _sampler(self, name, sampler=None, temperature=None):
        """The sampler of a stage, but for what is told otherwise."""
        own = getattr(self, name)
        if temperature is None:
            temperature = own.temperature
        if sampler is not None:
            other = samplers.get(sampler, name, temperature=temperature)
            if type(other) is not type(own):
                return other
        return dataclasses.replace(own, temperature=temperature)

    def __post_init__(self):
        checked = {
            name: check_int(getattr(self, name), name, high=MAX_STEPS)
            for name in ("num_steps", "super_res_num_steps")
        }
        if self.batch_size is not None:
            checked["batch_size"] = check_batch_size(self.batch_size)
        for name in ("guidance_scale", "super_res_guidance_scale"):
            if getattr(self, name) is not None:
                checked[name] = check_guidance_scale(getattr(self, name), name)
        for name in SAMPLERS:
            if not isinstance(getattr(self, name), Sampler):
                checked[name] = samplers.get(getattr(self, name), name)
        if self.super_res_guidance_scale is None:
            checked["super_res_guidance_scale"] = checked["guidance_scale"]
        check_function(self.callback, "callback")
        check_verbose(self.verbose)
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def of_task(muse, task, defaults, given):
    """All options with which a method of `Muse` draws.

    Args:
        muse: a `keras_muse.Muse`, or the class.
        task: string. The name of the method.
        defaults: dict. Generation defaults.
        given: dict. Arguments of the method that are options.

    Returns:
        `DrawOptions`.
    """
    if task != "edit":
        return DrawOptions.of(defaults, **given)
    own = {**defaults_of_edit(muse), **given}
    return DrawOptions.of_rounds(defaults, **own)


def defaults_of_edit(muse):
    """What `Muse.edit` draws its rounds with, unless told otherwise."""
    arguments = inspect.signature(muse.edit).parameters
    return {name: arguments[name].default for name in OF_ROUNDS}


def check_defaults(defaults):
    """Options that a preset keeps, checked, as a dict."""
    if not isinstance(defaults, dict):
        raise ValueError(
            "`generation_defaults` must be a dict. Received: "
            f"generation_defaults={show(defaults)}"
        )
    if unknown := sorted(map(str, set(defaults) - set(KEPT))):
        raise ValueError(
            f"`generation_defaults` may have {list(KEPT)}. Received: "
            f"{', '.join(unknown)}"
        )
    defaults = {name: x for name, x in defaults.items() if x is not None}
    options = DrawOptions.of(defaults)
    for name in SAMPLERS:
        if isinstance(getattr(options, name), ResamplingSampler):
            raise ValueError(
                f"`{name}` of `generation_defaults` must draw whole pictures. "
                f"Received: {name}={show(getattr(options, name))}, which is "
                "that of `edit`"
            )
    return {name: getattr(options, name) for name in defaults}


def to_json(defaults):
    """Generation defaults as JSON knows them, checked: a dict can change."""
    return {
        name: samplers.describe(x) if isinstance(x, Sampler) else x
        for name, x in check_defaults(defaults).items()
    }


def from_json(contents):
    """Generation defaults from what `to_json` made of them."""
    return {
        name: samplers.get(**x) if isinstance(x, dict) else x
        for name, x in contents.items()
    }
