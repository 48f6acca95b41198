"""What a decoding step is told."""

from typing import NamedTuple

import keras
from keras import ops


class Step(NamedTuple):
    """What a decoding step is told; values, so that no step compiles anew.

    Args:
        seeds: int32 tensor of shape `(batch,)`, one seed per row.
        index: int32 scalar tensor. Number of the step, as the noise counts.
        editable: bool tensor of shape `(batch, num_tokens)`. The tokens that
            were masked at the start; the others are known and never change.
        plan: dict of tensors, this step's part of `Sampler.plan`.
    """

    seeds: object
    index: object
    editable: object
    plan: dict

    def at(self, k):
        """Step `k` of several, whose `index` and `plan` begin with an axis."""
        index, plan = keras.tree.map_structure(
            lambda values: ops.convert_to_tensor(values)[k],
            (self.index, self.plan),
        )
        return self._replace(index=index, plan=plan)
