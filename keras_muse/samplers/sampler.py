"""What all samplers share: schedules, filters and the loop over steps.

The loop, with the names under which the code has its parts, `[MASK]` for
`mask_token_id`, and `k` counting the steps:

    editable = token_ids == [MASK]              # these are decoded
    plan = self.plan(...)                       # how many stay masked after k
    scales = self.guidance_scales(...)          # the ramp of guidance
    for k in range(num_steps):
        # Nothing, but for samplers that take tokens back.
        token_ids = self.mask_before(token_ids, [MASK], step[k])
        logits = head(features(token_ids, text))              # all tokens
        logits = no_text + scales[k] * (logits - no_text)     # guidance
        # Temperature, top-k, top-p; noise by seed, step, position and code.
        drawn, drawn_confidence = self.draw(logits, step[k])
        # reveal: what was masked takes what was drawn ...
        masked = token_ids == [MASK]
        token_ids = where(masked, drawn, token_ids)
        confidence = where(masked, drawn_confidence, confidence)
        # ... and what the model is least sure of is masked again.
        stay = self.choose_masked(confidence, masked, step[k])
        token_ids = where(stay, [MASK], token_ids)

Everything in the loop runs on the device, many steps at a time
(`keras_muse/models/transformers/decoding.py`); a sampler knows no model.
"""

import copy
import dataclasses
import itertools
from typing import ClassVar

import numpy as np
from keras import ops

from keras_muse.ops import noise
from keras_muse.ops import sampling
from keras_muse.ops import schedules
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import show
from keras_muse.samplers.settings import check_filters
from keras_muse.samplers.settings import check_guidance
from keras_muse.samplers.step import Step

# Of all steps: so many without guidance are worth a program of their own.
MIN_RESTING_PART = 0.25


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Base class of samplers: frozen values, no state, no model.

    A subclass says in `choose_masked` which tokens stay masked after a step;
    it may plan its steps in `plan`. With arguments of its own it is a frozen
    dataclass, too: equal samplers share compiled steps.

    Args:
        mask_schedule: string. How the masked part falls from 1 to 0, one of
            `keras_muse.ops.schedules.MASK_SCHEDULES`: `"cosine"`,
            `"arccos"`, `"linear"`, `"square"`, `"cubic"` or `"sqrt"`.
            Defaults to `"cosine"`.
        guidance_schedule: string. How the guidance scale grows from 1 to its
            value over the steps: `"linear"`, `"power_cosine"`, or
            `"constant"`, which is there at once. Defaults to `"linear"`.
        guidance_power: float above 0, of `"power_cosine"` only: the larger,
            the later guidance sets in. Defaults to `3`.
        guidance_interval: pair of floats in [0, 1] or `None`. Guidance acts
            only while the part of the steps that is done is in
            `[start, end)`. Defaults to all steps.
        temperature: float, at least `1e-6`. Divides the logits. Defaults to
            `1`.
        top_k: int or `None`. Draw from the `top_k` best codes only.
        top_p: float in (0, 1] or `None`. Draw from the smallest set of codes
            that has this probability.

    Example:
    ```python
    from keras import ops
    from keras_muse.ops import masking
    from keras_muse.ops import noise
    from keras_muse.samplers import Sampler

    class RandomOrderSampler(Sampler):
        def choose_masked(self, confidence, masked, step):
            order = noise.uniform(
                step.seeds, noise.CHOICE_STREAM, step.index, masked.shape[1]
            )
            # Known tokens last, so that they are never masked.
            order = ops.where(masked, order, 1.0)
            return masking.mask_lowest(order, step.plan["num_masked"])
    ```
    """

    mask_schedule: str = dataclasses.field(default="cosine", kw_only=True)
    guidance_schedule: str = dataclasses.field(default="linear", kw_only=True)
    guidance_power: float | None = dataclasses.field(default=None, kw_only=True)
    guidance_interval: tuple | None = dataclasses.field(
        default=None, kw_only=True
    )
    temperature: float = dataclasses.field(default=1.0, kw_only=True)
    top_k: int | None = dataclasses.field(default=None, kw_only=True)
    top_p: float | None = dataclasses.field(default=None, kw_only=True)

    # The numbers that a compiled step takes as arguments: one program serves
    # all their values.
    setting_names: ClassVar = ("temperature", "top_p")

    def __post_init__(self):
        for name, choices in (
            ("mask_schedule", sorted(schedules.MASK_SCHEDULES)),
            ("guidance_schedule", schedules.GUIDANCE_SCHEDULES),
        ):
            self._settle(name, check_choice(getattr(self, name), name, choices))
        power, interval = check_guidance(
            self.guidance_schedule, self.guidance_power, self.guidance_interval
        )
        self._settle("guidance_power", power)
        self._settle("guidance_interval", interval)
        filters = check_filters(self.temperature, self.top_k, self.top_p)
        for name, value in zip(
            ("temperature", "top_k", "top_p"), filters, strict=True
        ):
            self._settle(name, value)

    # === The loop, on the host ===

    def __call__(
        self,
        decode_steps,
        token_ids,
        mask_token_id,
        seeds,
        num_steps,
        guidance_scale=1.0,
        first_index=0,
        callback=None,
        grid_size=None,
        run_lengths=None,
    ):
        """Decodes all masked tokens in `num_steps` steps.

        Args:
            decode_steps: function of `(token_ids, confidence, steps,
                guidance_scales)`, a run of steps: `steps` a list of `Step`,
                with a scale for each, or `None` for no guidance. It returns
                the new `(token_ids, confidence)`. In each step it calls the
                sampler's `mask_before`, the transformer, `draw` and `reveal`.
            token_ids: int32 array of shape `(batch, num_tokens)`. Tokens
                equal to `mask_token_id` are decoded, the others are known
                and never change.
            mask_token_id: int.
            seeds: int32 array of shape `(batch,)`.
            num_steps: int, at least 1. More steps than masked tokens are
                allowed.
            guidance_scale: float. Scale at the end of the schedule.
            first_index: int. Where the noise starts to count the steps.
            callback: function or `None`. Called after each run with
                `(step, token_ids)`, the number of its last step and a tensor.
                If it returns `True` and nothing is masked, decoding ends.
            grid_size: pair of ints or `None`, `(height, width)` of the
                tokens, row by row. Samplers that go by place need it.
            run_lengths: endless iterator of ints, or `None`. How many steps
                a run may have, asked before each. It changes no token.
                Defaults to one.

        Returns:
            int32 numpy array of shape `(batch, num_tokens)`, nothing masked.
        """
        num_steps = check_int(num_steps, "num_steps")
        token_ids = np.asarray(token_ids, "int32")
        editable = token_ids == mask_token_id
        confidence = np.zeros(token_ids.shape, "float32")
        plan = self.plan(editable.sum(axis=1), num_steps, grid_size)
        scales = self.guidance_scales(guidance_scale, num_steps)
        steps = [
            Step(
                seeds,
                np.int32(first_index + k),
                editable,
                {name: values[k] for name, values in plan.items()},
            )
            for k in range(num_steps)
        ]
        guided = _guided_steps(scales)
        # A run is guided or is not: it ends where that changes.
        changes = [*np.flatnonzero(np.diff(guided)) + 1, num_steps]
        begin = 0
        for length in run_lengths or itertools.repeat(1):
            end = int(min(begin + length, *(k for k in changes if k > begin)))
            token_ids, confidence = decode_steps(
                token_ids,
                confidence,
                steps[begin:end],
                scales[begin:end] if guided[begin] else None,
            )
            if callback is not None and _is_true(callback(end - 1, token_ids)):
                if not np.any(ops.convert_to_numpy(token_ids) == mask_token_id):
                    break
            if end == num_steps:
                break
            begin = end
        return ops.convert_to_numpy(token_ids)

    def plan(self, num_editable, num_steps, grid_size=None):
        """What each step does, planned ahead in numpy.

        Args:
            num_editable: int array of shape `(batch,)`. Tokens to decode.
            num_steps: int.
            grid_size: pair of ints or `None`, as in `__call__`.

        Returns:
            Dict of arrays whose first axis is `num_steps`. Step `k` is given
            the `k`-th of each.
        """
        return {
            "num_masked": schedules.num_masked_per_step(
                num_editable, num_steps, self.mask_schedule
            ),
            # The part of the steps that is done after each.
            "progress": np.arange(1, num_steps + 1, dtype="float32")
            / np.float32(num_steps),
        }

    def guidance_scales(self, guidance_scale, num_steps):
        """The guidance scale of each step, float32 of shape `(num_steps,)`."""
        return schedules.guidance_per_step(
            guidance_scale,
            num_steps,
            self.guidance_schedule,
            self.guidance_power or 3.0,
            self.guidance_interval or (0.0, 1.0),
        )

    # === One step, inside the compiled unit ===

    def mask_before(self, token_ids, mask_token_id, step):
        """Masks tokens before the transformer sees them; by default none.

        Args:
            token_ids: int32 tensor of shape `(batch, num_tokens)`.
            mask_token_id: int.
            step: a `Step`.

        Returns:
            int32 tensor of the same shape.
        """
        return token_ids

    def draw(self, logits, step, first_position=0):
        """Draws a code for each token, masked or not.

        Args:
            logits: float tensor of shape `(batch, num_positions,
                codebook_size)`, guided; a part of the tokens.
            step: a `Step`.
            first_position: int. Where in the row the part begins. Defaults to
                `0`.

        Returns:
            int32 tensor and float32 tensor of shape `(batch, num_positions)`:
            the codes, and the logarithm of their probability before top-k
            and top-p.
        """
        logits = ops.cast(logits, "float32") / self.temperature
        gumbel = noise.gumbel(
            noise.code_uniform(
                step.seeds,
                noise.TOKEN_STREAM,
                step.index,
                *logits.shape[1:],
                first_position=first_position,
            )
        )
        drawn = sampling.sample(self._filter(logits), gumbel)
        return drawn, sampling.log_probability(logits, drawn)

    def reveal(
        self,
        token_ids,
        confidence,
        drawn,
        drawn_confidence,
        mask_token_id,
        step,
    ):
        """Puts drawn codes in the place of masks, and masks some again.

        Args:
            token_ids: int32 tensor of shape `(batch, num_tokens)`.
            confidence: float32 tensor of the same shape. Log-probability of
                each token when it was drawn; 0 for known tokens.
            drawn: int32 tensor of the same shape, from `draw`.
            drawn_confidence: float32 tensor of the same shape, from `draw`.
            mask_token_id: int.
            step: a `Step`.

        Returns:
            The new `token_ids` and `confidence`.
        """
        masked = ops.equal(token_ids, mask_token_id)
        token_ids = ops.where(masked, drawn, token_ids)
        confidence = ops.where(masked, drawn_confidence, confidence)
        stay = self.choose_masked(confidence, masked, step)
        return ops.where(stay, mask_token_id, token_ids), confidence

    def _filter(self, logits):
        if self.top_k is not None:
            logits = sampling.filter_top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = sampling.filter_top_p(logits, self.top_p)
        return logits

    def choose_masked(self, confidence, masked, step):
        """Which tokens are masked after a step.

        Args:
            confidence: float32 tensor of shape `(batch, num_tokens)`.
                Log-probability of each token when it was drawn.
            masked: bool tensor of shape `(batch, num_tokens)`, true where a
                token was drawn in this step.
            step: a `Step`; `step.plan["num_masked"]` is how many tokens of
                each row should be masked, `step.plan["progress"]` the part of
                the steps that is done after this one, in (0, 1].

        Returns:
            bool tensor of shape `(batch, num_tokens)`. It must be false where
            `step.editable` is false.
        """
        raise NotImplementedError

    # === Value semantics ===

    @property
    def settings(self):
        """dict. The settings of `setting_names` that are given, as float32."""
        values = {name: getattr(self, name) for name in self.setting_names}
        return {
            name: np.float32(value)
            for name, value in values.items()
            if value is not None
        }

    def with_settings(self, settings):
        """The same sampler with other values, or tensors, of `settings`."""
        sampler = copy.copy(self)
        for name, value in settings.items():
            sampler._settle(name, value)
        return sampler

    def _settle(self, name, value):
        """Sets a value while the sampler comes about; later it is frozen."""
        object.__setattr__(self, name, value)

    def get_config(self):
        fields = [
            field.name for field in dataclasses.fields(self) if field.init
        ]
        return {name: getattr(self, name) for name in fields}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def _is_true(answer):
    """What a callback returned, as Python's `if` takes it."""
    try:
        return bool(answer)
    except Exception as error:  # each library has its own
        raise ValueError(
            "`callback` must return True, False or None. Received: "
            f"{show(answer)}"
        ) from error


def _guided_steps(guidance_scales):
    """Which steps need the logits without text: those whose scale is not 1.

    Where only a few steps are unguided, as the first of a ramp, to guide them
    too, with a scale of 1, costs less than to compile a second program.
    """
    guided = guidance_scales != 1
    few = guided.any() and guided.mean() > 1 - MIN_RESTING_PART
    return np.ones_like(guided) if few else guided
