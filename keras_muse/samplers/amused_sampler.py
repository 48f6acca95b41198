"""The sampler that aMUSEd was published with."""

import dataclasses

import keras
import numpy as np

from keras_muse.samplers.confidence_sampler import ConfidenceSampler


@keras.saving.register_keras_serializable(package="keras_muse")
@dataclasses.dataclass(frozen=True)
class AmusedSampler(ConfidenceSampler):
    """`ConfidenceSampler` with the settings of aMUSEd's pipeline.

    Guidance has its whole scale from the first step on, and the noise on the
    confidence falls to zero at the last step in a straight line. The pipeline
    takes 12 steps and a guidance scale of 10.

    Args:
        choice_temperature: float. Weight of the noise in the first step.
            Defaults to `2`.
        mask_schedule: string, as in `keras_muse.samplers.Sampler`.
            Defaults to `"cosine"`.
        guidance_schedule: string, as there. Defaults to `"constant"`.
        guidance_power: float or `None`, as there.
        guidance_interval: pair of floats or `None`, as there.
        temperature: float, as there. Defaults to `1`.
        top_k: int or `None`, as there.
        top_p: float or `None`, as there.

    Example:
    ```python
    import keras_muse

    sampler = keras_muse.samplers.AmusedSampler()
    ```

    Reference:
        - [aMUSEd](https://arxiv.org/abs/2401.01808)
    """

    choice_temperature: float = 2.0
    guidance_schedule: str = dataclasses.field(default="constant", kw_only=True)

    def plan(self, num_editable, num_steps, grid_size=None):
        plan = super().plan(num_editable, num_steps, grid_size)
        plan["choice_temperature"] = np.linspace(
            self.choice_temperature, 0, num_steps, dtype="float32"
        )
        return plan

    def annealed_temperature(self, step):
        return step.plan["choice_temperature"]
