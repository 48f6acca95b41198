"""Tokens in an order that is spread over the picture."""

import dataclasses

import keras
import numpy as np
from keras import ops

from keras_muse.ops import masking
from keras_muse.ops import noise
from keras_muse.ops.halton import halton_order
from keras_muse.runtime.checks import check_bool
from keras_muse.samplers.sampler import Sampler


@keras.saving.register_keras_serializable(package="keras_muse")
@dataclasses.dataclass(frozen=True)
class HaltonSampler(Sampler):
    """Parallel decoding in the order of the Halton sequence.

    Tokens that are drawn in one step do not know of each other, and
    neighbours depend on each other most. The Halton sequence keeps those of
    one step far apart, whatever the model's confidence; the choice has no
    noise. It gains with the number of steps: 32 are usual.

    What stays masked is rounded down, as in all samplers. The authors' own
    code rounds down what is revealed, and so is a token behind.

    Args:
        randomize: bool. Whether each row begins elsewhere in the sequence, at
            a place that follows from its seed. Defaults to `True`.
        mask_schedule: string, as in `keras_muse.samplers.Sampler`. Defaults
            to `"arccos"`.
        guidance_schedule: string, as there. Defaults to `"constant"`.
        guidance_power: float or `None`, as there.
        guidance_interval: pair of floats or `None`, as there.
        temperature: float, as there. Defaults to `1`.
        top_k: int or `None`, as there.
        top_p: float or `None`, as there.

    Example:
    ```python
    import keras_muse

    sampler = keras_muse.HaltonSampler(top_p=0.95)
    ```

    Reference:
        - [Besnier et al., 2025](https://arxiv.org/abs/2503.17076)
    """

    randomize: bool = True
    mask_schedule: str = dataclasses.field(default="arccos", kw_only=True)
    guidance_schedule: str = dataclasses.field(default="constant", kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        self._settle("randomize", check_bool(self.randomize, "randomize"))

    def plan(self, num_editable, num_steps, grid_size=None):
        if grid_size is None:
            raise ValueError(
                "`HaltonSampler` needs the `grid_size` of the tokens. "
                f"Received: grid_size={grid_size}"
            )
        # The inverse permutation: each token's turn, the same at every step.
        turn = np.argsort(halton_order(*grid_size)).astype("int32")
        return {
            **super().plan(num_editable, num_steps),
            "turn": np.broadcast_to(turn, (num_steps, *turn.shape)),
        }

    def choose_masked(self, confidence, masked, step):
        turn = ops.cast(step.plan["turn"], "int32")[None, :]
        if self.randomize:
            num_tokens = masked.shape[1]
            # Without the step: a row keeps to one order.
            start = noise.uniform(step.seeds, noise.ROLL_STREAM) * num_tokens
            turn = (turn + ops.cast(start, "int32")) % num_tokens
        # Late turns stay masked; known tokens rank last, so they never are.
        return masking.mask_lowest(
            ops.where(masked, -turn, 1), step.plan["num_masked"]
        )
