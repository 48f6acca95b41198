import keras
import numpy as np
import pytest

from keras_muse.layers import VectorQuantizer
from keras_muse.ops import noise
from keras_muse.ops import quantization
from tests.helpers.tiny import to_numpy

SIZE, DIM = 8, 3


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def make(**kwargs):
    layer = VectorQuantizer(SIZE, DIM, **kwargs)
    layer.build((None, DIM))
    return layer


class NumpyQuantizer:
    """Running means of what each code served, and revival, in float64."""

    def __init__(self, layer):
        self.decay, self.revival_steps = layer.decay, layer.revival_steps
        self.codebook = to_numpy(layer.codebook).astype("float64")
        self.counts = to_numpy(layer.code_counts).astype("float64")
        self.sums = to_numpy(layer.code_sums).astype("float64")
        self.idle = np.zeros(SIZE, int)
        self.step = 0

    def __call__(self, vectors):
        vectors = vectors.astype("float64")
        distances = ((vectors[:, None] - self.codebook) ** 2).sum(axis=-1)
        ids = distances.argmin(axis=1)
        one_hot = np.eye(SIZE)[ids]
        served, rest = one_hot.sum(axis=0), 1 - self.decay
        self.counts = self.decay * self.counts + rest * served
        self.sums = self.decay * self.sums + rest * one_hot.T @ vectors
        self.idle = np.where(served > 0, 0, self.idle + 1)
        dead = np.full(SIZE, self.step == 0)
        if self.revival_steps:
            dead |= self.idle >= self.revival_steps
        self.idle[dead] = 0
        # Vectors far from their codes are drawn the more often.
        chances = to_numpy(
            noise.uniform(
                np.array([self.step], "int32"),
                noise.REVIVAL_STREAM,
                num_positions=SIZE,
            )
        )[0]
        mass = np.cumsum(distances.min(axis=1))
        drawn = vectors[np.searchsorted(mass, chances * mass[-1])]
        mean = self.counts.mean()
        self.counts[dead] = mean
        self.sums[dead] = drawn[dead] * mean
        self.codebook = self.sums / self.counts[:, None]
        self.step += 1
        return ids, dead


@pytest.mark.parametrize("decay, revival_steps", [(0.9, 0), (0.8, 2)])
def test_codebook_follows_and_revives_as_in_numpy(decay, revival_steps):
    layer = make(decay=decay, revival_steps=revival_steps)
    reference = NumpyQuantizer(layer)
    num_revived = 0
    for step in range(12):
        # A cloud that wanders: the codes must follow.
        vectors = 0.3 * random(40, DIM, seed=step) + 0.1 * step
        ids = to_numpy(layer(vectors, training=True)["token_ids"])
        expected_ids, dead = reference(vectors)
        num_revived += dead.sum() if step else 0
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_allclose(
            to_numpy(layer.codebook), reference.codebook, atol=1e-4
        )
        np.testing.assert_allclose(
            to_numpy(layer.code_counts), reference.counts, rtol=1e-4
        )
    assert int(layer.num_updates) == 12
    assert (num_revived > 0) == (revival_steps > 0)


def test_first_batch_places_every_code_on_one_of_its_vectors():
    layer, vectors = make(), random(50, DIM) + 100
    layer(vectors, training=True)
    distances = abs(to_numpy(layer.codebook)[:, None] - vectors).max(axis=-1)
    assert distances.min(axis=1).max() < 1e-3
    usage = len(set(distances.argmin(axis=1)))
    assert usage > SIZE / 2
    # Far away from where they began, they serve at once.
    ids = to_numpy(layer(vectors)["token_ids"])
    assert len(set(ids)) == usage


def test_a_code_that_serves_nothing_comes_back():
    layer = make(revival_steps=5)
    layer(random(40, DIM), training=True)
    stray = to_numpy(layer.codebook)
    stray[3] = 1e3
    layer.codebook.assign(stray)
    layer.code_sums.assign(stray * to_numpy(layer.code_counts)[:, None])
    for step in range(5):
        assert to_numpy(layer.codebook).max() > 900
        assert to_numpy(layer.idle_steps)[3] == step
        vectors = random(40, DIM, seed=step)
        layer(vectors, training=True)
    # On a vector of the last batch, with the weight of an average code.
    revived = to_numpy(layer.codebook)[3]
    assert abs(vectors - revived).max(axis=1).min() < 1e-4
    counts = to_numpy(layer.code_counts)
    np.testing.assert_allclose(counts[3], np.delete(counts, 3).mean(), rtol=0.2)


def test_zero_steps_never_revive():
    layer = make(decay=0.5, revival_steps=0)
    layer(random(40, DIM), training=True)
    stray = to_numpy(layer.codebook)
    stray[3] = 1e3
    layer.codebook.assign(stray)
    layer.code_sums.assign(stray * to_numpy(layer.code_counts)[:, None])
    for step in range(12):
        layer(random(40, DIM, seed=step), training=True)
    np.testing.assert_allclose(to_numpy(layer.codebook)[3], 1e3, rtol=1e-4)


@pytest.mark.parametrize("training, trainable", [(False, True), (True, False)])
def test_is_frozen(training, trainable):
    layer = make()
    layer.trainable = trainable
    before = [to_numpy(w) for w in layer.weights]
    layer(random(40, DIM), training=training)
    for weight, expected in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(weight), expected)


def test_outputs():
    layer, x = make(), random(2, 4, 5, DIM)
    outputs = keras.tree.map_structure(to_numpy, layer(x))
    assert outputs["losses"] == {}
    codebook = to_numpy(layer.codebook)
    distances = ((x[..., None, :] - codebook) ** 2).sum(axis=-1)
    ids = outputs["token_ids"]
    assert ids.dtype == "int32"
    np.testing.assert_array_equal(ids, distances.argmin(axis=-1))
    np.testing.assert_allclose(outputs["quantized"], codebook[ids], atol=1e-5)
    np.testing.assert_array_equal(to_numpy(layer.lookup(ids)), codebook[ids])


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_codes_are_exact_in_mixed_precision(dtype):
    layer = make(dtype=dtype)
    layer.codebook.assign(random(*layer.codebook.shape, seed=1))
    outputs = layer(8 * random(20, layer.codebook_dim))
    quantized = outputs["quantized"]
    expected = keras.ops.cast(
        layer.lookup(outputs["token_ids"]), quantized.dtype
    )
    np.testing.assert_array_equal(
        to_numpy(keras.ops.cast(quantized, "float32")),
        to_numpy(keras.ops.cast(expected, "float32")),
    )


def test_losses():
    layer, x = make(), random(2, 4, 5, DIM)
    names = ["commitment_loss", "entropy_loss"]
    losses = layer(x, loss_names=names)["losses"]
    assert list(losses) == names == list(layer.loss_weights)
    codebook = to_numpy(layer.codebook)
    distances = ((x[..., None, :] - codebook) ** 2).sum(axis=-1)
    # The mean squared difference of a vector and its code.
    commitment = distances.min(axis=-1).mean() / DIM
    np.testing.assert_allclose(
        to_numpy(losses["commitment_loss"]), commitment, rtol=1e-4
    )
    entropy = quantization.entropy_loss(
        distances.reshape(-1, SIZE).astype("float32")
    )
    np.testing.assert_allclose(
        to_numpy(losses["entropy_loss"]), to_numpy(entropy), rtol=1e-3
    )
    # One is computed without the other.
    losses = layer(x, loss_names=["commitment_loss"])["losses"]
    assert list(losses) == ["commitment_loss"]


def test_fingerprint_is_that_of_the_codes():
    layer, other = make(), make()
    assert layer.fingerprint() != other.fingerprint()
    other.set_weights(layer.get_weights())
    assert layer.fingerprint() == other.fingerprint()


class Pulled(keras.Model):
    """Pulls the codes of a trainable vector to a target."""

    def __init__(self, trains_codebook):
        super().__init__()
        self.quantizer = make()
        self.trains_codebook = trains_codebook
        self.vectors = self.add_weight(shape=(4, DIM), initializer="zeros")
        self.vectors.assign(random(4, DIM))

    def call(self, x):
        return self.quantizer(
            self.vectors + 0 * x, training=self.trains_codebook
        )["quantized"]


@pytest.mark.parametrize("training", [True, False])
def test_gradient_passes_straight_through(training):
    """The vectors move as if the codes were they."""
    model = Pulled(training)
    target, before = random(4, DIM, seed=1), random(4, DIM)
    quantized = to_numpy(
        keras.ops.take(
            model.quantizer.codebook, model.quantizer(before)["token_ids"], 0
        )
    )
    codebook = to_numpy(model.quantizer.codebook)
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    x = np.zeros((4, DIM), "float32")
    model.fit(x, target, batch_size=4, shuffle=False, verbose=0)
    # d mean((q - t)^2) / d v, with dq/dv = 1
    expected = before - 0.1 * 2 * (quantized - target) / quantized.size
    np.testing.assert_allclose(to_numpy(model.vectors), expected, atol=1e-5)
    followed = (to_numpy(model.quantizer.codebook) != codebook).any()
    assert followed == training


def test_codebook_takes_no_gradient_and_stays_float32():
    layer = make(dtype="mixed_bfloat16")
    assert layer.trainable_variables == []
    outputs = layer(random(4, DIM), loss_names=list(layer.loss_weights))
    dtypes = keras.tree.map_structure(
        lambda y: keras.backend.standardize_dtype(y.dtype), outputs
    )
    assert dtypes == {
        "quantized": "bfloat16",
        "token_ids": "int32",
        "losses": dict.fromkeys(layer.loss_weights, "float32"),
    }
    assert layer.codebook.dtype == "float32"


def test_config_round_trip():
    layer = make(decay=0.5, revival_steps=7, normalize_codes=True)
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()


def test_width_must_fit():
    with pytest.raises(ValueError, match=r"\(None, 4\), codebook_dim=3"):
        VectorQuantizer(SIZE, DIM).build((None, 4))


# === Codebooks from elsewhere ===


def assign_codes(layer, scale=1.0):
    codes = scale * random(SIZE, DIM, seed=5)
    layer.codebook.assign(codes)
    layer.mark_initialized()
    return codes


def test_a_settled_codebook_is_not_placed_anew():
    layer = make(decay=0.9)
    codes = assign_codes(layer)
    vectors = codes[[1, 1, 4]] + 0.01
    layer(vectors, training=True)
    # As running means of weight 1: code 1 served twice, 4 once, others none.
    expected = codes.copy()
    expected[1] += 0.01 * 0.2 / (0.9 + 0.2)
    expected[4] += 0.01 * 0.1 / (0.9 + 0.1)
    np.testing.assert_allclose(to_numpy(layer.codebook), expected, atol=1e-6)


def test_a_code_that_never_serves_stays_for_ever():
    layer = make(decay=0.1, revival_steps=0)
    codes = assign_codes(layer)
    for _ in range(60):  # its weight is 0 in float32 long before
        layer(codes[:1], training=True)
    assert to_numpy(layer.code_counts)[1] < 1e-30
    np.testing.assert_allclose(to_numpy(layer.codebook), codes, rtol=1e-5)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_normalized_codes_are_compared_by_their_direction():
    layer = make(normalize_codes=True)
    codes = assign_codes(layer, scale=np.linspace(0.1, 9, SIZE)[:, None])
    x = 7 * random(2, 5, DIM)
    outputs = keras.tree.map_structure(to_numpy, layer(x))
    ids = (unit(x) @ unit(codes).T).argmax(axis=-1)
    np.testing.assert_array_equal(outputs["token_ids"], ids)
    np.testing.assert_allclose(
        outputs["quantized"], unit(codes)[ids], atol=1e-5
    )
    np.testing.assert_allclose(
        to_numpy(layer.lookup(ids)), unit(codes)[ids], atol=1e-5
    )
    # A vector without direction is no NaN.
    zeros = layer(np.zeros((1, DIM), "float32"), loss_names=["commitment_loss"])
    assert np.isfinite(to_numpy(zeros["losses"]["commitment_loss"]))


def test_normalized_codes_follow_directions():
    layer = make(decay=0.5, normalize_codes=True)
    codes = assign_codes(layer)
    vectors = 5 * unit(codes)[[2]]
    layer(vectors, training=True)
    expected = (0.5 * codes[2] + 0.5 * unit(codes)[2]) / (0.5 + 0.5)
    np.testing.assert_allclose(to_numpy(layer.codebook)[2], expected, atol=1e-5)


def test_of_equal_codes_the_first_is_taken():
    layer = make()
    codes = assign_codes(layer)
    codes[6] = codes[2]
    layer.codebook.assign(codes)
    ids = to_numpy(layer(codes)["token_ids"])
    np.testing.assert_array_equal(ids, [0, 1, 2, 3, 4, 5, 2, 7])
