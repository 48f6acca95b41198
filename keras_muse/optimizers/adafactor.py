"""The paper's optimizer: Adafactor with momentum."""

import keras
from keras import ops

from keras_muse.runtime.checks import check_number


@keras.saving.register_keras_serializable(package="keras_muse")
class AdafactorMomentum(keras.optimizers.Optimizer):
    """Adafactor with momentum, fixed decays and decoupled weight decay.

    The second moment of a matrix is kept as its row and column means, so that
    it costs next to nothing; the first moment costs one copy of the weights.
    Of a tensor with more axes the last two are factored, vectors and scalars
    keep the whole second moment.

    Where `keras.optimizers.Adafactor` has no momentum, lets its decay grow
    with the steps and scales the learning rate by the steps and by the size of
    each weight, here `learning_rate` means what it means in Adam: the size
    of a step is about the learning rate. The defaults are the paper's.

    With step t = 1, 2, ..., gradient g and weight w:

        v = mean of g**2, debiased, decaying by beta_2 (factored)
        u = g / sqrt(v), scaled down to a root mean square of clip_threshold
        m = mean of u, debiased, decaying by beta_1
        w = w - learning_rate * (weight_decay * w + m)

    Args:
        learning_rate: float, a `keras.optimizers.schedules` schedule, or a
            callable without arguments. Defaults to `1e-4`.
        beta_1: float in [0, 1). Decay of the first moment. Defaults to `0.9`.
        beta_2: float in [0, 1). Decay of the second moment. Defaults to
            `0.96`.
        clip_threshold: positive float. The largest root mean square of the
            normalized gradient of one weight. Defaults to `1.0`.
        epsilon: float. Added to squared gradients. Defaults to `1e-30`.
        weight_decay: float or `None`. Applied to every trainable weight but
            those named in `exclude_from_weight_decay`. Defaults to `0.045`.
        **kwargs: other arguments of `keras.optimizers.Optimizer`, such as
            `global_clipnorm`, `use_ema` or `name`.

    Raises:
        ValueError: if `beta_1`, `beta_2` or `clip_threshold` is out of range.

    Example:

    ```python
    import keras

    import keras_muse

    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(keras_muse.optimizers.AdafactorMomentum(1e-3), loss="mse")
    ```

    Reference:
        - [Shazeer and Stern, 2018](https://arxiv.org/abs/1804.04235)
        - [Chang et al., 2023](https://arxiv.org/abs/2301.00704), Table 4
    """

    def __init__(
        self,
        learning_rate=1e-4,
        beta_1=0.9,
        beta_2=0.96,
        clip_threshold=1.0,
        epsilon=1e-30,
        weight_decay=0.045,
        **kwargs,
    ):
        for name, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            check_number(beta, name, 0, 1, open_at="high")
        check_number(clip_threshold, "clip_threshold", 0, open_at="low")
        check_number(epsilon, "epsilon", 0, open_at="low")
        if weight_decay is not None:
            check_number(weight_decay, "weight_decay", 0)
        if not callable(learning_rate) and not isinstance(
            learning_rate, keras.optimizers.schedules.LearningRateSchedule
        ):
            learning_rate = check_number(learning_rate, "learning_rate", 0)
        super().__init__(
            learning_rate=learning_rate, weight_decay=weight_decay, **kwargs
        )
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.clip_threshold = clip_threshold
        self.epsilon = epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")
        # Per variable: the means over rows and over columns, or one tensor.
        self._second_moments = []
        for variable in variables:
            shape = tuple(variable.shape)
            if len(shape) < 2:
                shapes = {"second_moment": shape}
            else:
                shapes = {
                    "row_second_moment": shape[:-1],
                    "column_second_moment": shape[:-2] + shape[-1:],
                }
            self._second_moments.append(
                [
                    # In float32, for 0.04 of a square is soon lost in less.
                    self.add_variable(
                        shape=shape,
                        dtype="float32",
                        name=f"{variable.path.replace('/', '_')}_{name}",
                    )
                    for name, shape in shapes.items()
                ]
            )

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        momentum = self._momentums[index]

        # TensorFlow gives an embedding its gradient as rows: make it dense.
        gradient = ops.reshape(gradient, variable.shape)
        update = self._normalized(index, ops.cast(gradient, "float32"))
        size = ops.sqrt(ops.mean(ops.square(update)))
        update = update / ops.maximum(1.0, size / self.clip_threshold)

        beta_1 = self._debiased(self.beta_1)
        update = beta_1 * ops.cast(momentum, "float32") + (1 - beta_1) * update
        self.assign(momentum, ops.cast(update, momentum.dtype))
        step = ops.cast(learning_rate, "float32") * update
        self.assign_sub(variable, ops.cast(step, variable.dtype))

    def _normalized(self, index, gradient):
        """Divides a gradient by the root of its updated second moment."""
        moments = self._second_moments[index]
        squares = ops.square(gradient) + self.epsilon
        means = [squares]
        if len(moments) == 2:
            means = [ops.mean(squares, axis=-1), ops.mean(squares, axis=-2)]
        beta_2 = self._debiased(self.beta_2)
        means = [
            beta_2 * moment + (1 - beta_2) * mean
            for moment, mean in zip(moments, means, strict=True)
        ]
        for moment, mean in zip(moments, means, strict=True):
            self.assign(moment, mean)
        if len(means) == 1:
            return gradient * ops.rsqrt(means[0])
        rows, columns = means
        # Root by root: the product of two small moments, as of a token that
        # never occurs, is zero in float32.
        row_roots = ops.sqrt(ops.mean(rows, axis=-1, keepdims=True))
        row_factors = ops.expand_dims(row_roots * ops.rsqrt(rows), -1)
        return gradient * row_factors * ops.expand_dims(ops.rsqrt(columns), -2)

    def _debiased(self, beta):
        """The decay of this step that makes Adam's bias correction needless.

        It is `beta * (1 - beta**(step - 1)) / (1 - beta**step)`, the first one
        zero: an average starts as its first value.
        """
        step = ops.cast(self.iterations + 1, "float32")
        power = ops.power(beta, step)
        return (beta - power) / (1 - power)

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "beta_1": self.beta_1,
                "beta_2": self.beta_2,
                "clip_threshold": self.clip_threshold,
                "epsilon": self.epsilon,
            }
        )
        return config
