"""How much of a codebook is in use."""

import keras
import numpy as np
from keras import ops

from keras_muse.metrics.merging import check_mergeable
from keras_muse.ops import quantization
from keras_muse.runtime.checks import check_array
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import show


class _CodeCounts(keras.metrics.Metric):
    def __init__(self, codebook_size, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        codebook_size = check_int(codebook_size, "codebook_size")
        self.codebook_size = codebook_size
        # Whatever the dtype: in float16 counts would not grow.
        self.counts = self.add_weight(
            shape=(codebook_size,),
            initializer="zeros",
            dtype="float32",
            name="counts",
        )

    def update_state(self, token_ids):
        self.count(self._checked(token_ids))

    def count(self, token_ids):
        """Counts the ids of a quantizer, which are right by themselves.

        Args:
            token_ids: integer tensor of any shape.
        """
        token_ids = ops.reshape(token_ids, (-1,))
        served = ops.segment_sum(
            ops.ones_like(token_ids, dtype=self.counts.dtype),
            token_ids,
            self.codebook_size,
        )
        self.counts.assign_add(served)

    def _checked(self, token_ids):
        """Ids from people as integers of this codebook."""
        if not isinstance(token_ids, list | tuple | np.ndarray):
            try:
                token_ids = ops.convert_to_numpy(token_ids)
            except Exception:  # while a step is traced there are no values
                return token_ids
        token_ids = check_array(token_ids, "token_ids")
        if not token_ids.size:
            raise ValueError(
                "`token_ids` must not be empty. Received: token_ids="
                f"{show(token_ids)}"
            )
        is_known = (token_ids >= 0) & (token_ids < self.codebook_size)
        if token_ids.dtype.kind not in "iu" or not is_known.all():
            raise ValueError(
                "`token_ids` must be integers in [0, "
                f"{self.codebook_size}). Received: token_ids="
                f"{show(token_ids)} from {token_ids.min()} to "
                f"{token_ids.max()}"
            )
        return token_ids

    def merge_state(self, metrics):
        """Takes in what other metrics have counted.

        Args:
            metrics: iterable of metrics of the same class and codebook size.
                They stay as they are.
        """
        for metric in check_mergeable(self, metrics, ["codebook_size"]):
            self.counts.assign_add(metric.counts)

    def get_config(self):
        return {**super().get_config(), "codebook_size": self.codebook_size}


@keras.saving.register_keras_serializable(package="keras_muse")
class CodebookUsage(_CodeCounts):
    """Part of the codes that served at least once since the last reset.

    Args:
        codebook_size: int. Number of codes.
        name: string. Defaults to `"codebook_usage"`.
        dtype: string or `None`, as all metrics take it. Codes are counted in
            float32 in any case.

    Example:
    ```python
    import keras_muse

    metric = keras_muse.metrics.CodebookUsage(4)
    metric.update_state([[0, 1], [1, 1]])
    metric.result()  # 0.5
    ```
    """

    def __init__(self, codebook_size, name="codebook_usage", dtype=None):
        super().__init__(codebook_size, name=name, dtype=dtype)

    def result(self):
        return ops.mean(ops.cast(self.counts > 0, "float32"))


@keras.saving.register_keras_serializable(package="keras_muse")
class CodebookPerplexity(_CodeCounts):
    """`exp` of the entropy of code usage: how many codes carry the load.

    Args:
        codebook_size: int. Number of codes, the highest value it can take.
        name: string. Defaults to `"codebook_perplexity"`.
        dtype: string or `None`, as all metrics take it. Codes are counted in
            float32 in any case.

    Example:
    ```python
    import keras_muse

    metric = keras_muse.metrics.CodebookPerplexity(4)
    metric.update_state([0, 1, 2, 3])
    metric.result()  # 4.0
    ```
    """

    def __init__(self, codebook_size, name="codebook_perplexity", dtype=None):
        super().__init__(codebook_size, name=name, dtype=dtype)

    def result(self):
        return quantization.perplexity(self.counts)
