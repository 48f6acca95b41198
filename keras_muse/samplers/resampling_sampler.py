"""Muse's mask-free editing: tokens are drawn anew, a few at a time."""

import dataclasses
from typing import ClassVar

import keras
from keras import ops

from keras_muse.ops import masking
from keras_muse.ops import noise
from keras_muse.runtime.checks import check_number
from keras_muse.samplers.sampler import Sampler


@keras.saving.register_keras_serializable(package="keras_muse")
@dataclasses.dataclass(frozen=True)
class ResamplingSampler(Sampler):
    """Draws complete tokens anew, a random part of them at each step.

    Each step masks a few tokens and draws them given all the others and the
    text, as Gibbs sampling does. Step by step a picture follows the new
    text, and keeps what the text does not ask to change. After any step
    the tokens are complete, so that a `callback` may end the editing.

    Args:
        mask_ratio: float in (0, 1]. Part of the tokens that a step draws
            anew, at least one token. Defaults to `0.08`.
        guidance_schedule: string, as in `keras_muse.samplers.Sampler`.
            Defaults to `"constant"`.
        guidance_power: float or `None`, as there.
        guidance_interval: pair of floats or `None`, as there.
        temperature: float, as there. Defaults to `1`.
        top_k: int or `None`. Draw from the `top_k` best codes only. Defaults
            to `3`.
        top_p: float or `None`, as there.

    Example:
    ```python
    from keras_muse.samplers import ResamplingSampler

    sampler = ResamplingSampler(mask_ratio=0.05)
    ```

    Reference:
        - [Muse, section 3.3](https://arxiv.org/abs/2301.00704)
    """

    mask_ratio: float = 0.08
    top_k: int | None = dataclasses.field(default=3, kw_only=True)
    guidance_schedule: str = dataclasses.field(default="constant", kw_only=True)
    # There is no schedule: all steps are alike.
    mask_schedule: str = dataclasses.field(
        default="cosine", init=False, repr=False
    )

    setting_names: ClassVar = (*Sampler.setting_names, "mask_ratio")

    def __post_init__(self):
        super().__post_init__()
        mask_ratio = check_number(
            self.mask_ratio, "mask_ratio", 0, 1, open_at="low"
        )
        self._settle("mask_ratio", mask_ratio)

    def plan(self, num_editable, num_steps, grid_size=None):
        return {}  # all steps are alike

    def mask_before(self, token_ids, mask_token_id, step):
        # A row that came complete may change anywhere, another one only
        # where it came masked.
        is_complete = ops.logical_not(
            ops.any(step.editable, axis=1, keepdims=True)
        )
        editable = ops.logical_or(step.editable, is_complete)
        num_editable = ops.sum(ops.cast(editable, "float32"), axis=1)
        num_masked = ops.maximum(ops.round(self.mask_ratio * num_editable), 1)
        order = noise.uniform(
            step.seeds, noise.MASK_ORDER_STREAM, step.index, token_ids.shape[1]
        )
        mask = masking.mask_lowest(ops.where(editable, order, 1.0), num_masked)
        return ops.where(mask, mask_token_id, token_ids)

    def choose_masked(self, confidence, masked, step):
        return ops.zeros_like(masked)
