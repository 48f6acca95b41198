"""The paper's sampler: keep what the model is most confident of."""

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
class ConfidenceSampler(Sampler):
    """Parallel decoding in the order of the model's confidence.

    Each step draws all masked tokens, keeps those of highest probability and
    masks the rest again; kept tokens are final. Gumbel noise on the
    confidence, falling to zero over the steps, keeps the first choices from
    being the blandest ones.

    Args:
        choice_temperature: float. Weight of the noise at the start. Defaults
            to `4.5`.
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

    sampler = keras_muse.ConfidenceSampler(choice_temperature=2.0, top_p=0.9)
    ```

    Reference:
        - [Muse, section 2.8](https://arxiv.org/abs/2301.00704)
        - [MaskGIT, section 3.2](https://arxiv.org/abs/2202.04200)
    """

    choice_temperature: float = 4.5

    setting_names: ClassVar = (*Sampler.setting_names, "choice_temperature")

    def __post_init__(self):
        super().__post_init__()
        choice_temperature = check_number(
            self.choice_temperature, "choice_temperature", 0, 1e6
        )
        self._settle("choice_temperature", choice_temperature)

    def choose_masked(self, confidence, masked, step):
        gumbel = noise.gumbel(
            noise.uniform(
                step.seeds, noise.CHOICE_STREAM, step.index, masked.shape[1]
            )
        )
        noisy = confidence + self.annealed_temperature(step) * gumbel
        # Known tokens rank last, so they are never masked.
        score = ops.where(masked, noisy, float("inf"))
        return masking.mask_lowest(score, step.plan["num_masked"])

    def annealed_temperature(self, step):
        """Weight of the noise in a step, a float32 scalar."""
        return self.choice_temperature * (1.0 - step.plan["progress"])
