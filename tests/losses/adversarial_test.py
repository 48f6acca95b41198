import keras
import numpy as np
import pytest

from keras_muse.losses import AdversarialLoss
from tests.helpers.tiny import randomize
from tests.helpers.tiny import tiny_discriminator
from tests.helpers.tiny import to_numpy


@keras.saving.register_keras_serializable(package="keras_muse_tests")
class LinearCritic(keras.Model):
    """Scores a picture by one number, so that its slope is known."""

    def __init__(self, weight=0.0, bias=0.0, size=(4, 4), **kwargs):
        super().__init__(**kwargs)
        self.weight = self.add_weight(shape=(*size, 3), initializer="zeros")
        self.bias = self.add_weight(shape=(), initializer="zeros")
        self.weight.assign(np.broadcast_to(weight, self.weight.shape))
        self.bias.assign(bias)
        self.built = True

    def call(self, inputs):
        score = keras.ops.sum(inputs * self.weight, axis=(1, 2, 3))
        return keras.ops.reshape(score + self.bias, (-1, 1, 1, 1))


def pictures(value, num_images=2):
    return np.full((num_images, 4, 4, 3), value, "float32")


def terms(loss, real, fake, training=False):
    return {
        name: float(value)
        for name, value in loss(real, fake, training=training).items()
    }


@pytest.mark.parametrize("bias", [-3.0, -0.2, 0.0, 0.6, 3.0])
def test_is_the_hinge_loss(bias):
    loss = AdversarialLoss(LinearCritic(1.0, bias), regularization=None)
    real, fake = 0.01, -0.02
    real_score, fake_score = 48 * real + bias, 48 * fake + bias
    actual = terms(loss, pictures(real), pictures(fake))
    expected = max(0, 1 - real_score) + max(0, 1 + fake_score)
    assert actual["discriminator_loss"] == pytest.approx(expected, abs=1e-5)
    assert actual["adversarial_loss"] == pytest.approx(-fake_score, abs=1e-5)


def test_nothing_counts_before_the_start():
    loss = AdversarialLoss(LinearCritic(1.0, 0.3), start_step=3)
    seen = [
        terms(loss, pictures(0.1), pictures(-0.1), training=True)
        for _ in range(5)
    ]
    active = [t["discriminator_loss"] != 0 for t in seen]
    assert active == [False, False, False, True, True]
    assert [t["adversarial_loss"] != 0 for t in seen] == active


def test_evaluation_does_not_count_as_a_step():
    loss = AdversarialLoss(LinearCritic(1.0), start_step=2)
    state = (loss.num_steps, loss.mean_real, loss.mean_fake)
    loss(pictures(1), pictures(0), training=True)
    before = [float(v) for v in state]
    for _ in range(3):
        assert terms(loss, pictures(1), pictures(0))["adversarial_loss"] == 0
    assert [float(v) for v in state] == before


def test_lecam_pulls_scores_to_the_running_means():
    weight = 0.5
    loss = AdversarialLoss(
        LinearCritic(1 / 48),
        regularization="lecam",
        regularization_weight=weight,
    )
    plain = AdversarialLoss(LinearCritic(1 / 48), regularization=None)
    mean_real = mean_fake = 0.0
    for real, fake in ((2.0, -3.0), (1.0, 0.5), (-1.0, 1.0)):
        penalty = max(0, real - mean_fake) ** 2 + max(0, mean_real - fake) ** 2
        args = pictures(real), pictures(fake)
        actual = terms(loss, *args, training=True)["discriminator_loss"]
        hinge = terms(plain, *args)["discriminator_loss"]
        assert actual - hinge == pytest.approx(weight * penalty, rel=1e-4)
        mean_real = 0.999 * mean_real + 0.001 * real
        mean_fake = 0.999 * mean_fake + 0.001 * fake
    assert float(loss.mean_real) == pytest.approx(mean_real, rel=1e-4)
    assert float(loss.mean_fake) == pytest.approx(mean_fake, rel=1e-4)


def test_r1_is_the_squared_norm_of_the_gradient():
    slope = 0.3 * np.random.default_rng(0).standard_normal((4, 4, 3))
    options = {"regularization_weight": 4.0}
    loss = AdversarialLoss(LinearCritic(slope), regularization="r1", **options)
    plain = AdversarialLoss(LinearCritic(slope), regularization=None)
    real, fake = pictures(0.2, 4000), pictures(0.1, 4000)
    penalty = (
        terms(loss, real, fake, training=True)["discriminator_loss"]
        - terms(plain, real, fake, training=True)["discriminator_loss"]
    )
    # w / 2 |gradient|^2; the mean of 4000 squares is known to some percent.
    assert penalty == pytest.approx(4.0 / 2 * (slope**2).sum(), rel=0.1)


def test_r1_of_one_score_a_picture():
    """As a discriminator of one's own may have it."""
    critic = keras.Sequential(
        [keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    loss = AdversarialLoss(critic, regularization="r1", dtype="float32")
    images = np.zeros((2000, 4, 4, 3), "float32")
    penalty = terms(loss, images, images, training=True)["discriminator_loss"]
    slope = to_numpy(critic.layers[-1].kernel)
    # Both scores are 0: the hinges are 1.
    assert penalty == pytest.approx(2 + 5 * (slope**2).sum(), rel=0.1)


def test_validating_does_not_change_what_r1_draws():
    losses = [
        AdversarialLoss(LinearCritic(0.3), regularization="r1")
        for _ in range(2)
    ]
    real, fake = pictures(0.2), pictures(0.1)
    for _ in range(3):
        losses[1](real, fake)
    trained = [
        float(loss(real, fake, training=True)["discriminator_loss"])
        for loss in losses
    ]
    assert trained[0] == trained[1]


def test_default_weights():
    critic = LinearCritic()
    assert AdversarialLoss(critic).regularization_weight == 0.001
    r1 = AdversarialLoss(critic, regularization="r1")
    assert r1.regularization_weight == 10.0


class Painter(keras.Model):
    """One picture, trained against a critic."""

    def __init__(
        self, critic, adversarial_weight=1.0, critic_weight=1.0, **kwargs
    ):
        super().__init__()
        # Not blank: the critic's norms would divide rounding errors by zero.
        self.picture = self.add_weight(
            shape=(4, 4, 3),
            initializer=keras.initializers.RandomUniform(-1, 1, seed=1),
        )
        self.critic_loss = AdversarialLoss(critic, **kwargs)
        self.weights_of_terms = adversarial_weight, critic_weight

    def call(self, x):
        return self.picture + 0 * x

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        result = self.critic_loss(x, y_pred, training=training)
        weights = self.weights_of_terms
        return (
            weights[0] * result["adversarial_loss"]
            + weights[1] * result["discriminator_loss"]
        )


def moves(num_steps=1, **kwargs):
    """How the picture and the critic move in a step of gradient descent."""
    keras.utils.set_random_seed(0)
    critic = tiny_discriminator()
    randomize(critic, 0.1)
    model = Painter(critic, **kwargs)
    picture = to_numpy(model.picture)
    before = [to_numpy(v) for v in critic.trainable_variables]
    model.compile(keras.optimizers.SGD(0.1))
    real = np.random.default_rng(0).uniform(-1, 1, (2, 4, 4, 3))
    for _ in range(num_steps):
        model.train_on_batch(real.astype("float32"))
    after = [to_numpy(v) for v in critic.trainable_variables]
    return to_numpy(model.picture) - picture, [
        b - a for a, b in zip(before, after, strict=True)
    ]


def size(arrays):
    return max(abs(a).max() for a in arrays)


def test_generator_step_moves_the_picture_only():
    picture, critic = moves(critic_weight=0.0)
    assert size([picture]) > 1e-5
    assert size(critic) == 0


def test_discriminator_step_moves_the_critic_only():
    picture, critic = moves(adversarial_weight=0.0)
    assert size([picture]) == 0
    assert size(critic) > 1e-5


@pytest.mark.parametrize("regularization", ["lecam", "r1"])
def test_regularization_moves_the_critic_only(regularization):
    picture, critic = moves(regularization=None)
    other_picture, other_critic = moves(
        regularization=regularization, regularization_weight=1.0
    )
    # Not to the bit: another program rounds otherwise, and the norms of such
    # small pictures make some of it. A slope of the penalty would be as large
    # as the rest.
    np.testing.assert_allclose(
        other_picture, picture, atol=0.1 * size([picture])
    )
    difference = [a - b for a, b in zip(critic, other_critic, strict=True)]
    assert size(difference) > 1e-6


def test_nothing_moves_before_the_start():
    picture, critic = moves(num_steps=2, start_step=2)
    assert size([picture]) == size(critic) == 0
    picture, critic = moves(num_steps=3, start_step=2)
    assert size([picture]) > 0 and size(critic) > 0


def test_picture_gets_more_real_in_the_eyes_of_a_fixed_critic():
    critic = LinearCritic(np.linspace(-1, 1, 3))
    model = Painter(critic, critic_weight=0.0)
    model.compile(keras.optimizers.SGD(0.1))
    before = to_numpy(model.picture)
    model.train_on_batch(pictures(0.0))
    # d(-mean score) / d picture = -weight
    np.testing.assert_allclose(
        to_numpy(model.picture) - before,
        0.1 * to_numpy(critic.weight),
        atol=1e-6,
    )


def test_config_round_trip():
    loss = AdversarialLoss(tiny_discriminator(), 5, "r1", 3.0, name="critic")
    config = keras.saving.serialize_keras_object(loss)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == loss.get_config()
    assert copy.start_step == 5 and copy.regularization_weight == 3.0
    assert copy.discriminator.channel_multipliers == (1, 2)


def test_losses_are_float32_under_a_mixed_policy():
    """R1 is a small difference: in bfloat16 it would be noise."""
    slope = 0.3 * np.random.default_rng(0).standard_normal((4, 4, 3))
    real, fake = pictures(0.2, 100), pictures(0.1, 100)
    expected = terms(
        AdversarialLoss(LinearCritic(slope), regularization="r1"), real, fake
    )
    keras.config.set_dtype_policy("mixed_bfloat16")
    critic = LinearCritic(slope, dtype="float32")
    actual = terms(AdversarialLoss(critic, regularization="r1"), real, fake)
    assert actual == pytest.approx(expected, rel=1e-5)


def test_unusable_settings_raise():
    with pytest.raises(ValueError, match="Received: regularization='r2'"):
        AdversarialLoss(LinearCritic(), regularization="r2")
    with pytest.raises(ValueError, match="compute_dtype=bfloat16"):
        AdversarialLoss(
            tiny_discriminator(dtype="mixed_bfloat16"), regularization="r1"
        )
    with pytest.raises(ValueError, match="`discriminator` must be built"):
        AdversarialLoss(keras.Sequential([keras.layers.Conv2D(1, 3)]))
