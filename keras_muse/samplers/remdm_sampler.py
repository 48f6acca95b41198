"""Ancestral sampling of masked diffusion that may mask tokens again."""

import dataclasses

import keras
import numpy as np
from keras import ops

from keras_muse.ops import noise
from keras_muse.ops import sampling
from keras_muse.ops import schedules
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.checks import show
from keras_muse.samplers.sampler import Sampler
from keras_muse.samplers.settings import as_pair

# Strategies, with the `eta` of each that is taken if none is given.
STRATEGIES = {"cap": 0.05, "rescale": 0.05, "conf": 1.0}


@keras.saving.register_keras_serializable(package="keras_muse")
@dataclasses.dataclass(frozen=True)
class ReMDMSampler(Sampler):
    """Decoding that takes tokens back, so that more steps are of more use.

    Each token has its own luck: a masked one is revealed, a revealed one is
    masked again, with probabilities that keep the part that is masked on its
    schedule on average. With `alpha` the part that is revealed, before a step
    and after it, at most `sigma_max = min(1, (1 - alpha_after) /
    alpha_before)` of the revealed tokens can be taken back. It pays from
    about 32 steps on, often with a `temperature` near 0.8.

    Args:
        strategy: string. The probability of taking a token back:
            `"rescale"`, `eta * sigma_max`; `"cap"`, `min(eta, sigma_max)`; or
            `"conf"`, `eta * sigma_max` shared out among the revealed tokens
            of a row, more to those that had less probability when they were
            drawn. Defaults to `"rescale"`.
        eta: float in [0, 1]. How much is taken back; at 0 tokens are final.
            Defaults to 0.05, and with `"conf"` to 1, which is about one token
            a step.
        loop_interval: pair of floats `0 < start < end < 1`, or `None`. Tokens
            are taken back only while the part of the steps that is done is in
            `[start, end)`; meanwhile the schedule stands still, and as many
            are revealed. Before and after, it runs at one pace. It does not
            go with `"conf"`, which does not draw lost tokens anew until
            the schedule moves on. Defaults to `None`: no interval.
        mask_schedule: string, as in `keras_muse.samplers.Sampler`.
            Defaults to `"cosine"`.
        guidance_schedule: string, as there. Defaults to `"linear"`.
        guidance_power: float or `None`, as there.
        guidance_interval: pair of floats or `None`, as there.
        temperature: float, as there. Defaults to `1`.
        top_k: int or `None`, as there.
        top_p: float or `None`, as there.

    Example:
    ```python
    import keras_muse

    sampler = keras_muse.ReMDMSampler(eta=0.02, temperature=0.8)
    looping = keras_muse.ReMDMSampler("cap", loop_interval=(0.45, 0.95))
    ```

    Reference:
        - [Wang et al., 2025](https://arxiv.org/abs/2503.00307)
    """

    strategy: str = "rescale"
    eta: float | None = None
    loop_interval: tuple | None = None

    def __post_init__(self):
        super().__post_init__()
        strategy = check_choice(self.strategy, "strategy", list(STRATEGIES))
        self._settle("strategy", strategy)
        if self.eta is None:
            self._settle("eta", STRATEGIES[self.strategy])
        self._settle("eta", check_number(self.eta, "eta", 0, 1))
        interval = _check_loop(self.loop_interval, self.strategy)
        self._settle("loop_interval", interval)

    # === On the host ===

    def plan(self, num_editable, num_steps, grid_size=None):
        """The posterior's two probabilities of a mask, step by step."""
        progress = np.arange(num_steps + 1) / num_steps
        schedule = schedules.MASK_SCHEDULES[self.mask_schedule]
        alpha = 1 - schedule(self._schedule_progress(progress))
        before, after = alpha[:-1], alpha[1:]
        sigma = self._sigma(before, after, progress[:-1])
        # sigma also lowers the chance that a masked token stays masked, but
        # for "conf", whose sigma is 0 for masked tokens.
        drawn_back = 0 if self.strategy == "conf" else sigma
        stay = (1 - after - drawn_back * before) / (1 - before)
        return {
            "stay": stay.astype("float32"),
            "remask": sigma.astype("float32"),
        }

    def _schedule_progress(self, progress):
        """Where in the schedule a step is; it stands still in the loop."""
        if self.loop_interval is None:
            return progress
        start, end = self.loop_interval
        in_loop = np.clip(progress, start, end) - start
        return (progress - in_loop) / (1 - (end - start))

    def _sigma(self, before, after, progress):
        # Nothing can be taken back where nothing is revealed.
        sigma_max = np.minimum(1, (1 - after) / np.maximum(before, 1e-12))
        if self.strategy == "cap":
            sigma = np.minimum(self.eta, sigma_max)
        else:
            sigma = self.eta * sigma_max
        if self.loop_interval is not None:
            start, end = self.loop_interval
            sigma = np.where((start <= progress) & (progress < end), sigma, 0)
        return sigma

    # === Inside the compiled unit ===

    def choose_masked(self, confidence, masked, step):
        remask = step.plan["remask"]
        if self.strategy == "conf":
            revealed = ops.logical_and(step.editable, ops.logical_not(masked))
            doubt = ops.where(
                revealed, -ops.exp(confidence), sampling.NEGATIVE_LARGE
            )
            remask = ops.softmax(doubt, axis=-1) * remask
        probability = ops.where(masked, step.plan["stay"], remask)
        uniform = noise.uniform(
            step.seeds, noise.REMASK_STREAM, step.index, masked.shape[1]
        )
        return ops.logical_and(step.editable, uniform < probability)


def _check_loop(loop_interval, strategy):
    interval = as_pair(loop_interval)
    if interval is None:
        return None
    start, end = interval
    if strategy == "conf" or not 0 < start < end < 1:
        raise ValueError(
            "`loop_interval` must be a pair 0 < start < end < 1, and does not "
            "go with strategy='conf'. Received: "
            f"loop_interval={show(loop_interval)}, strategy={strategy!r}"
        )
    return interval
