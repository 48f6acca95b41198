import keras
import numpy as np
import pytest
from keras import ops

from keras_muse.optimizers import AdafactorMomentum

_SHAPES = [(), (7,), (5, 3), (4, 2, 3), (3, 3, 2, 4)]


class NumpyAdafactor:
    """The same update with Adam's explicit bias corrections, in float64."""

    def __init__(self, rate, beta_1, beta_2, clip, weight_decay):
        self.settings = rate, beta_1, beta_2, clip, weight_decay
        self.step = 0
        self.first = self.second = 0.0

    def __call__(self, weight, gradient):
        rate, beta_1, beta_2, clip, weight_decay = self.settings
        self.step += 1
        squares = gradient.astype("float64") ** 2 + 1e-30
        if weight.ndim >= 2:
            rows = squares.mean(-1, keepdims=True)
            columns = squares.mean(-2, keepdims=True)
            squares = np.concatenate([rows.reshape(-1), columns.reshape(-1)])
        self.second = beta_2 * self.second + (1 - beta_2) * squares
        second = self.second / (1 - beta_2**self.step)
        if weight.ndim >= 2:
            flat_rows, flat_columns = np.split(second, [rows.size])
            rows = flat_rows.reshape(rows.shape)
            columns = flat_columns.reshape(columns.shape)
            second = rows * columns / rows.mean(-2, keepdims=True)
        update = gradient / np.sqrt(second)
        update /= max(1.0, np.sqrt((update**2).mean()) / clip)
        self.first = beta_1 * self.first + (1 - beta_1) * update
        first = self.first / (1 - beta_1**self.step)
        return weight - rate * (weight_decay * weight + first)


def random_arrays(shape, count):
    generator = np.random.default_rng(len(shape))
    # Sizes that differ by orders of magnitude, as those of layers do.
    scales = 10.0 ** generator.uniform(-4, 2, count)
    return [
        (scale * generator.standard_normal(shape)).astype("float32")
        for scale in scales
    ]


@pytest.mark.parametrize("shape", _SHAPES)
@pytest.mark.parametrize(
    "settings",
    [(1e-4, 0.9, 0.96, 1.0, 0.045), (0.1, 0.0, 0.5, 0.3, 0.2)],
)
def test_equals_numpy(shape, settings):
    rate, beta_1, beta_2, clip, weight_decay = settings
    optimizer = AdafactorMomentum(
        rate,
        beta_1=beta_1,
        beta_2=beta_2,
        clip_threshold=clip,
        weight_decay=weight_decay,
    )
    reference = NumpyAdafactor(*settings)
    start, *gradients = random_arrays(shape, 8)
    expected = start.astype("float64")
    variable = keras.Variable(start)
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
        expected = reference(expected, gradient)
    moved = ops.convert_to_numpy(variable) - start
    np.testing.assert_allclose(
        moved, expected - start, rtol=2e-3, atol=1e-5 * abs(start).max()
    )


def test_defaults_are_the_papers():
    config = AdafactorMomentum().get_config()
    assert config["learning_rate"] == pytest.approx(1e-4)
    assert (config["beta_1"], config["beta_2"]) == (0.9, 0.96)
    assert config["weight_decay"] == 0.045


def test_a_step_is_the_learning_rate_at_any_time():
    optimizer = AdafactorMomentum(0.01, weight_decay=None)
    variable = keras.Variable(np.zeros((4, 4), "float32"))
    gradient = ops.convert_to_tensor(np.full((4, 4), 3e-5, "float32"))
    for step in range(1, 30):
        optimizer.apply([gradient], [variable])
        np.testing.assert_allclose(
            ops.convert_to_numpy(variable), -0.01 * step, rtol=1e-4
        )


def test_second_moment_is_factored():
    optimizer = AdafactorMomentum()
    optimizer.build(
        [keras.Variable(np.zeros(shape)) for shape in [(30, 20), (3, 8, 9), 5]]
    )
    shapes = [
        tuple(variable.shape)
        for variable in optimizer.variables
        if "second_moment" in variable.name
    ]
    assert shapes == [(30,), (20,), (3, 8), (3, 9), (5,)]


def test_rows_without_gradient_stay():
    """As in an embedding, where most tokens are absent from a batch."""
    optimizer = AdafactorMomentum(weight_decay=None)
    variable = keras.Variable(np.ones((3, 2), "float32"))
    gradient = np.array([[0, 0], [100.0, 1e-7], [0, 0]], "float32")
    for _ in range(3):
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
    value = ops.convert_to_numpy(variable)
    assert np.isfinite(value).all()
    np.testing.assert_array_equal(value[[0, 2]], 1.0)
    assert (value[1] < 1.0).all()


def test_half_precision_weights():
    optimizer = AdafactorMomentum(0.1, weight_decay=None)
    variable = keras.Variable(np.zeros((4, 3)), dtype="bfloat16")
    optimizer.apply([ops.full((4, 3), 2.0, "bfloat16")], [variable])
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(variable, "float32")), -0.1, rtol=1e-2
    )


def make_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(AdafactorMomentum(0.01), loss="mse")
    return model


def make_data():
    x = np.random.default_rng(0).standard_normal((64, 6, 6, 2))
    return x.astype("float32"), x.mean((1, 2, 3))[:, None] * 5


def test_trains():
    history = make_model().fit(*make_data(), epochs=30, verbose=0).history
    assert history["loss"][-1] < 0.1 * history["loss"][0]


def test_training_goes_on_from_saved_file(tmp_path):
    x, y = make_data()
    model = make_model()
    model.fit(x, y, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert restored.optimizer.get_config() == model.optimizer.get_config()
    for trained in (model, restored):
        trained.fit(x, y, epochs=2, shuffle=False, verbose=0)
    for expected, actual in zip(
        model.get_weights(), restored.get_weights(), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)


def test_a_learning_rate_of_numpy_is_one():
    assert AdafactorMomentum(np.float32(0.5)).learning_rate == 0.5


def test_unusable_settings_raise():
    with pytest.raises(ValueError, match="Received: beta_1=1.0"):
        AdafactorMomentum(beta_1=1.0)
    with pytest.raises(ValueError, match="Received: beta_2=-0.1"):
        AdafactorMomentum(beta_2=-0.1)
    with pytest.raises(ValueError, match="Received: clip_threshold=0"):
        AdafactorMomentum(clip_threshold=0)


@pytest.mark.parametrize("epsilon", [0, 1e-60])
def test_what_divides_by_nothing_is_refused(epsilon):
    with pytest.raises(ValueError, match="`epsilon`"):
        AdafactorMomentum(epsilon=epsilon)
