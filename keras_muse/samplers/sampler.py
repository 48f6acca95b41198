"""What all samplers share: schedules, filters and the loop over steps."""

import numpy as np
from keras import ops

from keras_muse.ops import noise
from keras_muse.ops import sampling
from keras_muse.ops import schedules


class Sampler:
    """Base class of samplers: values, no state, no model.

    A subclass says in `choose_masked` which tokens stay masked after a step.

    Args:
        mask_schedule: string. How the masked part falls from 1 to 0:
            `"cosine"` or `"linear"`. Defaults to `"cosine"`.
        guidance_schedule: string. `"linear"` ramps the guidance scale from 1
            to its value over the steps, `"constant"` does not. Defaults to
            `"linear"`.
        temperature: float above 0. Divides the logits. Defaults to `1`.
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
        def choose_masked(
            self, logits, drawn, masked, seeds, step, num_masked, progress
        ):
            order = noise.uniform(
                seeds, noise.CHOICE_STREAM, step, drawn.shape[1]
            )
            # Known tokens last, so that they are never masked.
            order = ops.where(masked, order, 1.0)
            return masking.mask_lowest(order, num_masked)
    ```
    """

    def __init__(
        self,
        mask_schedule="cosine",
        guidance_schedule="linear",
        temperature=1.0,
        top_k=None,
        top_p=None,
    ):
        _check_name("mask_schedule", mask_schedule, schedules.MASK_SCHEDULES)
        _check_name(
            "guidance_schedule",
            guidance_schedule,
            schedules.GUIDANCE_SCHEDULES,
        )
        if temperature <= 0:
            raise ValueError(
                "`temperature` must be above 0; `top_k=1` is greedy. "
                f"Received: temperature={temperature}"
            )
        if top_k is not None and top_k < 1:
            raise ValueError(
                f"`top_k` must be at least 1. Received: top_k={top_k}"
            )
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(
                f"`top_p` must be in (0, 1]. Received: top_p={top_p}"
            )
        self.mask_schedule = mask_schedule
        self.guidance_schedule = guidance_schedule
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p

    # === The loop, on the host ===

    def __call__(
        self,
        decode_step,
        token_ids,
        mask_token_id,
        num_steps,
        guidance_scale=1.0,
        callback=None,
    ):
        """Decodes all masked tokens in `num_steps` steps.

        Args:
            decode_step: function of `(token_ids, step, num_masked, progress,
                guidance_scale)` that calls the transformer and then `reveal`;
                the compiled unit.
            token_ids: int32 array of shape `(batch, num_tokens)`. Tokens
                equal to `mask_token_id` are decoded, the others are known
                and never change.
            mask_token_id: int.
            num_steps: int, at least 1. More steps than masked tokens are
                allowed: a row that is complete stays as it is.
            guidance_scale: float. Scale at the end of the schedule.
            callback: function or `None`. Called after each step with
                `(step, token_ids)`, `token_ids` an int32 numpy array.

        Returns:
            int32 numpy array of shape `(batch, num_tokens)`, nothing masked.
        """
        if num_steps < 1:
            raise ValueError(
                f"`num_steps` must be at least 1. Received: "
                f"num_steps={num_steps}"
            )
        token_ids = np.asarray(token_ids, "int32")
        num_editable = np.sum(token_ids == mask_token_id, axis=1)
        num_masked = schedules.num_masked_per_step(
            num_editable, num_steps, self.mask_schedule
        )
        scales = schedules.guidance_per_step(
            guidance_scale, num_steps, self.guidance_schedule
        )
        for step in range(num_steps):
            token_ids = decode_step(
                token_ids,
                np.int32(step),
                num_masked[step],
                np.float32((step + 1) / num_steps),
                scales[step],
            )
            if callback is not None:
                callback(step, ops.convert_to_numpy(token_ids))
        return ops.convert_to_numpy(token_ids)

    # === One step, inside the compiled unit ===

    def reveal(
        self,
        logits,
        token_ids,
        mask_token_id,
        seeds,
        step,
        num_masked,
        progress,
    ):
        """Draws all masked tokens and masks the least fit of them again.

        Args:
            logits: float tensor of shape `(batch, num_tokens, codebook_size)`,
                guided.
            token_ids: int32 tensor of shape `(batch, num_tokens)`.
            mask_token_id: int.
            seeds: int32 tensor of shape `(batch,)`, one seed a row.
            step: int32 scalar tensor.
            num_masked: int32 tensor of shape `(batch,)`. How many tokens of
                each row stay masked.
            progress: float scalar tensor in (0, 1], the part of the steps
                that is done after this one.

        Returns:
            int32 tensor of shape `(batch, num_tokens)`.
        """
        logits = ops.cast(logits, "float32") / self.temperature
        masked = ops.equal(token_ids, mask_token_id)
        gumbel = noise.gumbel(
            noise.code_uniform(
                seeds, noise.TOKEN_STREAM, step, *logits.shape[1:]
            )
        )
        drawn = sampling.sample(self._filter(logits), gumbel)
        drawn = ops.where(masked, drawn, token_ids)
        stay = self.choose_masked(
            logits, drawn, masked, seeds, step, num_masked, progress
        )
        return ops.where(stay, mask_token_id, drawn)

    def _filter(self, logits):
        if self.top_k is not None:
            logits = sampling.filter_top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = sampling.filter_top_p(logits, self.top_p)
        return logits

    def choose_masked(
        self, logits, drawn, masked, seeds, step, num_masked, progress
    ):
        """Which `num_masked` of the `masked` tokens of each row stay masked.

        Args:
            logits: float32 tensor of shape `(batch, num_tokens,
                codebook_size)`, divided by the temperature.
            drawn: int32 tensor of shape `(batch, num_tokens)`.
            masked: bool tensor of shape `(batch, num_tokens)`.
            seeds: int32 tensor of shape `(batch,)`.
            step: int32 scalar tensor.
            num_masked: int32 tensor of shape `(batch,)`.
            progress: float scalar tensor in (0, 1].

        Returns:
            bool tensor of shape `(batch, num_tokens)`.
        """
        raise NotImplementedError

    # === Value semantics ===

    def get_config(self):
        return {
            "mask_schedule": self.mask_schedule,
            "guidance_schedule": self.guidance_schedule,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __eq__(self, other):
        return type(self) is type(other) and (
            self.get_config() == other.get_config()
        )

    def __hash__(self):
        return hash((type(self), *sorted(self.get_config().items(), key=str)))

    def __repr__(self):
        values = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({values})"


def _check_name(argument, name, table):
    if name not in table:
        raise ValueError(
            f"`{argument}` must be one of {sorted(table)}. "
            f"Received: {argument}={name!r}"
        )
