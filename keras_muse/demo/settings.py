"""With what a picture is drawn: what the page shows, and what it remembers."""

import dataclasses

from keras_muse import samplers
from keras_muse.demo import limits
from keras_muse.muse import draw_options
from keras_muse.muse.draw_options import DrawOptions
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_guidance_scale
from keras_muse.samplers.registry import DRAWING
from keras_muse.samplers.sampler import Sampler

# One picture after the other: so each is seen as soon as it is there, there is
# one program for any number, and a picture is the same drawn alone.
BATCH_SIZE = 1


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the page shows of the options of `Muse.generate`.

    Attributes:
        num_steps: int. Decoding steps of the base.
        guidance_scale: float.
        sampler: string. Its name.
        temperature: float.
    """

    num_steps: int
    guidance_scale: float
    sampler: str
    temperature: float

    @classmethod
    def of(cls, options):
        """What the page shows of `DrawOptions`."""
        return cls(
            options.num_steps,
            options.guidance_scale,
            samplers.describe(options.sampler)["sampler"],
            options.sampler.temperature,
        )

    def options(self, own):
        """Arguments of `Muse.generate`: as shown, and else as before.

        Args:
            own: `DrawOptions` that hold for all that is not shown, or was
                not changed: those of the model, or of a picture.

        Returns:
            A dict of all that a preset can keep, and of the batch size.
        """
        num_steps = limits.check_whole(
            self.num_steps, "steps", 1, limits.MAX_STEPS
        )
        limits.check_whole(
            own.super_res_num_steps,
            "super-resolution steps",
            1,
            limits.MAX_STEPS,
        )
        guidance_scale = check_guidance_scale(self.guidance_scale, "guidance")
        sampler = check_choice(self.sampler, "sampler", DRAWING)
        return {
            **{name: getattr(own, name) for name in draw_options.KEPT},
            **self._samplers(sampler, own),
            **_of_super_res(self.guidance_scale, own),
            "num_steps": num_steps,
            "guidance_scale": guidance_scale,
            "batch_size": BATCH_SIZE,
        }

    def _samplers(self, sampler, own):
        """The samplers of both stages, where the page says something else."""
        shown = Settings.of(own)
        is_other = sampler != shown.sampler
        if not is_other and self.temperature == shown.temperature:
            return {}
        return own.other_samplers(
            sampler if is_other else None, self.temperature
        )


def _of_super_res(guidance_scale, own):
    """Guidance of the second stage follows the first, where it did before."""
    if own.super_res_guidance_scale == own.guidance_scale:
        return {"super_res_guidance_scale": guidance_scale}
    return {}


def within_limits(options):
    """`DrawOptions` brought to what the page may draw with, and can show."""
    guidance_scale = min(options.guidance_scale, limits.MAX_GUIDANCE)
    temperature = min(
        max(options.sampler.temperature, limits.MIN_TEMPERATURE),
        limits.MAX_TEMPERATURE,
    )
    steps = {
        name: min(getattr(options, name), limits.MAX_STEPS)
        for name in ("num_steps", "super_res_num_steps")
    }
    return dataclasses.replace(
        options,
        **steps,
        **_of_super_res(guidance_scale, options),
        guidance_scale=guidance_scale,
        sampler=dataclasses.replace(options.sampler, temperature=temperature),
    )


def differing(made, options):
    """Which settings of a picture are others than those of `DrawOptions`.

    Args:
        made: dict, as `keras_muse.read_parameters` gives it.
        options: `DrawOptions`.

    Returns:
        List of their names, as a person says them.
    """
    names = []
    for name, value in draw_options.from_json(_kept(made)).items():
        other = getattr(options, name)
        if isinstance(value, Sampler) and type(value) is type(other):
            # Of samplers of one kind, which settings it are.
            names += [
                name.removesuffix("sampler") + field.name
                for field in dataclasses.fields(value)
                if getattr(value, field.name) != getattr(other, field.name)
            ]
        elif value != other:
            names.append(name)
    return [name.replace("_", " ") for name in names]


def _kept(made):
    """What a preset can keep, of the stages that there were."""
    return {name: made[name] for name in draw_options.KEPT if name in made}


def recalled(made):
    """`DrawOptions` of a picture, from its parameters.

    Args:
        made: dict, as `keras_muse.read_parameters` gives it.

    Returns:
        `DrawOptions`; of a picture whose sampler is not for drawing, as of one
        that `edit` has drawn, `None`.
    """
    samplers_made = (made.get("sampler"), made.get("super_res_sampler"))
    if made["task"] == "edit" or any(
        x and x["sampler"] not in DRAWING for x in samplers_made
    ):
        return None
    return DrawOptions.of(draw_options.from_json(_kept(made)))
