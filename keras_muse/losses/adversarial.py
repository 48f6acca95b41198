"""The adversarial loss of the VQGAN, with the critic it trains."""

import keras
from keras import ops

from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.checks import show

LECAM_DECAY = 0.999
R1_STEP = 0.01


@keras.saving.register_keras_serializable(package="keras_muse")
class AdversarialLoss(keras.layers.Layer):
    """Hinge loss of a generator and of its discriminator, in one pass.

    The two losses are added to one total and minimized together: the
    generator's sees frozen discriminator weights, the discriminator's sees
    detached pictures, so each moves its own side only.

    Args:
        discriminator: a `keras_muse.Discriminator`, or any model of pictures
            that gives scores of shape `(batch, height, width, 1)`.
        start_step: int. Training steps before either loss counts: a young
            decoder is no match for a discriminator. Defaults to `0`.
        regularization: string or `None`. `"lecam"` pulls the scores towards
            their running means; `"r1"` penalizes the discriminator's slope at
            real pictures. Defaults to `"lecam"`.
        regularization_weight: float. Defaults to `0.001` for LeCam and `10`
            for R1, the usual ones.
        dtype: string or `keras.DTypePolicy`. Defaults to `"float32"`, whatever
            the global policy; the discriminator has its own.

    Call arguments:
        real: float tensor of shape `(batch, height, width, 3)` in [-1, 1].
        fake: float tensor of the same shape, the generator's pictures.
        training: bool. Whether running means and the step count move.

    Returns:
        A dict of float32 scalars: `"adversarial_loss"`, for the generator,
        and `"discriminator_loss"`, with its regularization; R1 is left out
        when not training.

    Example:
    ```python
    import numpy as np
    import keras_muse

    loss = keras_muse.losses.AdversarialLoss(keras_muse.Discriminator(8))
    images = np.zeros((2, 16, 16, 3), "float32")
    terms = loss(images, images)
    ```

    Reference:
        - [VQGAN](https://arxiv.org/abs/2012.09841)
        - [LeCam](https://arxiv.org/abs/2104.03310)
        - [R1](https://arxiv.org/abs/1801.04406), here with the slope along a
          random direction in place of the gradient: its square has the
          gradient's squared norm as mean
    """

    def __init__(
        self,
        discriminator,
        start_step=0,
        regularization="lecam",
        regularization_weight=None,
        dtype="float32",
        **kwargs,
    ):
        super().__init__(dtype=dtype, **kwargs)
        check_choice(regularization, "regularization", ("lecam", "r1", None))
        if not isinstance(discriminator, keras.layers.Layer):
            raise ValueError(
                "`discriminator` must be a layer or a model. Received: "
                f"discriminator={show(discriminator)}"
            )
        if not discriminator.built:
            raise ValueError(
                "`discriminator` must be built, for example by a first layer "
                "`keras.Input((None, None, 3))`. Received: "
                f"discriminator={show(discriminator)}"
            )
        if regularization == "r1" and discriminator.compute_dtype != "float32":
            raise ValueError(
                '`regularization="r1"` is a small difference of scores and '
                "needs a float32 `discriminator`. Received: "
                f"discriminator.compute_dtype={discriminator.compute_dtype}"
            )
        self.discriminator = discriminator
        self.start_step = check_int(start_step, "start_step", low=0)
        self.regularization = regularization
        if regularization_weight is None:
            regularization_weight = 10.0 if regularization == "r1" else 0.001
        self.regularization_weight = check_number(
            regularization_weight, "regularization_weight", low=0
        )
        self.seed_generator = keras.random.SeedGenerator(0)
        self.build()

    def build(self, input_shape=None):
        self.num_steps = self._state("num_steps", "int32")
        self.mean_real = self._state("mean_real")
        self.mean_fake = self._state("mean_fake")
        self.built = True

    def _state(self, name, dtype="float32"):
        return self.add_weight(
            shape=(),
            initializer="zeros",
            dtype=dtype,
            trainable=False,
            autocast=False,
            name=name,
        )

    def call(self, real, fake, training=False):
        real_score = self.discriminator(real)
        fake_score = self.discriminator(ops.stop_gradient(fake))
        discriminator_loss = ops.mean(ops.relu(1.0 - real_score)) + ops.mean(
            ops.relu(1.0 + fake_score)
        )
        # R1 draws a direction: that of a validation would change the next.
        if training or self.regularization != "r1":
            discriminator_loss += self._regularize(real, real_score, fake_score)
        adversarial_loss = -ops.mean(self._frozen_score(fake))
        active = ops.cast(self.num_steps >= self.start_step, "float32")
        if training:
            self._advance(real_score, fake_score)
        return {
            "adversarial_loss": active * adversarial_loss,
            "discriminator_loss": active * discriminator_loss,
        }

    def _frozen_score(self, fake):
        trainable, others = (
            [ops.stop_gradient(ops.convert_to_tensor(v)) for v in variables]
            for variables in (
                self.discriminator.trainable_variables,
                self.discriminator.non_trainable_variables,
            )
        )
        score, _ = self.discriminator.stateless_call(trainable, others, fake)
        return score

    def _regularize(self, real, real_score, fake_score):
        if self.regularization is None:
            return 0.0
        if self.regularization == "lecam":
            penalty = ops.mean(
                ops.square(ops.relu(real_score - self.mean_fake))
            ) + ops.mean(ops.square(ops.relu(self.mean_real - fake_score)))
            return self.regularization_weight * penalty
        direction = keras.random.normal(
            ops.shape(real), seed=self.seed_generator
        )
        moved = self.discriminator(real + R1_STEP * direction)
        # One's own discriminator may have one score a picture.
        change = ops.reshape(moved - real_score, (ops.shape(real)[0], -1))
        slope = ops.sum(change, axis=1) / R1_STEP
        return self.regularization_weight / 2 * ops.mean(ops.square(slope))

    def _advance(self, real_score, fake_score):
        for mean, score in (
            (self.mean_real, real_score),
            (self.mean_fake, fake_score),
        ):
            score = ops.mean(ops.stop_gradient(score))
            mean.assign(LECAM_DECAY * mean + (1 - LECAM_DECAY) * score)
        self.num_steps.assign_add(1)

    def get_config(self):
        return {
            **super().get_config(),
            "discriminator": keras.layers.serialize(self.discriminator),
            "start_step": self.start_step,
            "regularization": self.regularization,
            "regularization_weight": self.regularization_weight,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["discriminator"] = keras.layers.deserialize(
            config["discriminator"]
        )
        return cls(**config)
