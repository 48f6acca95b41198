import keras
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from keras.ops import convert_to_tensor as tensor
from scipy import stats

from keras_muse.ops import masking
from keras_muse.ops import noise
from tests.helpers.tiny import to_numpy


def words(*values):
    """32-bit words as the int32 that the package computes with."""
    return [tensor(np.array([v], "uint32").view("int32")) for v in values]


def bits(pair):
    return [int(to_numpy(x).view("uint32").item()) for x in pair]


@pytest.mark.parametrize(
    "key, counter, expected",
    [  # of Random123, threefry2x32 with 20 rounds
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        (
            (0x13198A2E, 0x03707344),
            (0x243F6A88, 0x85A308D3),
            (0xC4923A9C, 0x483DF7A0),
        ),
    ],
)
def test_threefry_gives_the_known_answers(key, counter, expected):
    result = noise.threefry(words(*key), words(*counter))
    assert bits(result) == list(expected)


def test_threefry_equals_jax():
    generator = np.random.default_rng(0)
    key, counter = generator.integers(0, 2**32, (2, 2, 50), dtype="uint32")
    result = noise.threefry(
        *[[tensor(word.view("int32")) for word in x] for x in (key, counter)]
    )
    for i in range(50):
        expected = threefry_2x32(key[:, i], counter[:, i])
        actual = [to_numpy(x)[i].astype("int32") for x in result]
        np.testing.assert_array_equal(
            np.array(actual).view("uint32"), np.asarray(expected)
        )


def test_written_out_it_is_the_same():
    generator = np.random.default_rng(1)
    words = generator.integers(0, 2**32, (4, 50), dtype="uint32")
    a, b, x, y = (tensor(word.view("int32")) for word in words)
    for actual, expected in zip(
        noise.threefry((a, b), (x, y)),
        noise.unrolled_threefry((a, b), (x, y)),
        strict=True,
    ):
        np.testing.assert_array_equal(to_numpy(actual), to_numpy(expected))


def draw(seeds=(1,), stream=0, step=0, num_positions=4096):
    return to_numpy(
        noise.uniform(np.array(seeds, "int32"), stream, step, num_positions)
    )


def draw_codes(seeds=(1,), stream=0, step=0, num_positions=64, num_codes=128):
    seeds = np.array(seeds, "int32")
    return to_numpy(
        noise.code_uniform(seeds, stream, step, num_positions, num_codes)
    )


@pytest.mark.parametrize("function", [draw, draw_codes])
def test_noise_is_uniform(function):
    u = function(seeds=range(16), step=2)
    assert u.dtype == "float32"
    assert 0 < u.min() and u.max() < 1
    counts, _ = np.histogram(u, 64, (0, 1))
    assert stats.chisquare(counts).pvalue > 1e-3
    # The low bits too, not the leading ones alone.
    counts, _ = np.histogram((u.astype("float64") * 4096) % 1, 64, (0, 1))
    assert stats.chisquare(counts).pvalue > 1e-3


def test_code_noise_is_uniform_along_each_axis():
    u = draw_codes(num_positions=256, num_codes=512)[0]
    for axis in (0, 1):
        # A mean of n uniform numbers, in its standard deviations.
        z = (u.mean(axis) - 0.5) * np.sqrt(12 * u.shape[axis])
        assert stats.kstest(z, "norm").pvalue > 1e-3


@pytest.mark.parametrize("function", [draw, draw_codes])
@pytest.mark.parametrize(
    "change",
    [
        {"seeds": (2,)},
        {"seeds": (-1,)},
        {"step": 1},
        {"stream": noise.TOKEN_STREAM},
        {"step": 1 << 20},  # where the super-resolution model counts from
    ],
)
def test_noise_of_other_counters_is_independent(function, change):
    one, other = function().ravel(), function(**change).ravel()
    correlation = np.corrcoef(one, other)[0, 1]
    assert abs(correlation) < 4 / np.sqrt(one.size)
    assert (one != other).mean() > 0.999


def test_neighbours_are_independent():
    u = draw_codes(seeds=range(4), num_positions=128, num_codes=128)
    for axis in range(3):
        first = np.delete(u, -1, axis).ravel()
        second = np.delete(u, 0, axis).ravel()
        correlation = np.corrcoef(first, second)[0, 1]
        assert abs(correlation) < 4 / np.sqrt(first.size)


@pytest.mark.parametrize("function", [draw, draw_codes])
def test_a_row_depends_on_its_seed_only(function):
    batch = function(seeds=(7, 8, 9))
    alone = function(seeds=(8,))
    np.testing.assert_array_equal(batch[1:2], alone)


@pytest.mark.parametrize("num_positions", [1, 2, 3, 4])
def test_shapes_that_look_alike_are_no_exception(num_positions):
    """As many positions as rows, or as codes: nothing is mixed up."""
    seeds = (7, 8, 9)
    for function, options in (
        (draw, {}),
        (draw_codes, {"num_codes": 3}),
        (draw_codes, {"num_codes": num_positions}),
    ):
        batch = function(seeds, num_positions=num_positions, **options)
        assert batch.shape[:2] == (3, num_positions)
        for i, seed in enumerate(seeds):
            longer = function((seed,), num_positions=9, **options)
            np.testing.assert_array_equal(batch[i], longer[0, :num_positions])


def test_a_position_does_not_depend_on_how_many_there_are():
    np.testing.assert_array_equal(
        draw(num_positions=9), draw(num_positions=64)[:, :9]
    )
    np.testing.assert_array_equal(
        draw_codes(num_positions=3, num_codes=5),
        draw_codes(num_positions=8, num_codes=16)[:, :3, :5],
    )


def test_streams_do_not_collide():
    streams = [v for k, v in vars(noise).items() if k.endswith("_STREAM")]
    assert len(streams) == len(set(streams)) == 8
    first = [draw(stream=s, num_positions=2).tobytes() for s in streams]
    assert len(set(first)) == len(streams)


def test_golden_bits():
    """The same on every backend; a change would change everyone's pictures."""
    u = draw(seeds=(0, -5), stream=noise.TOKEN_STREAM, step=2, num_positions=2)
    codes = draw_codes((0, -5), noise.TOKEN_STREAM, 2, 1, 2)
    scaled = np.concatenate([u.ravel(), codes.ravel()]) * 2.0**24
    assert scaled.astype(int).tolist() == GOLDEN


GOLDEN = [
    *(300369, 3628615, 15375575, 16105515),
    *(1605203, 4229491, 3047155, 6192975),
]


def test_gumbel_noise_has_its_distribution():
    gumbel = to_numpy(noise.gumbel(draw(num_positions=8192)))
    assert np.isfinite(gumbel).all()
    assert stats.kstest(gumbel.ravel(), "gumbel_r").pvalue > 1e-3


def test_gumbel_noise_is_finite_at_both_ends():
    ends = np.array([0.5 * 2.0**-23, 1 - 0.5 * 2.0**-23], "float32")
    low, high = to_numpy(noise.gumbel(ends))
    assert -3 < low < -2 and 16 < high < 17


def test_hash_of_rows():
    rows = np.random.default_rng(0).integers(0, 8192, (200, 16))
    rows[1] = rows[0]
    rows[2] = rows[0][::-1]  # the same tokens at other places
    rows[3, :] = rows[0]
    rows[3, 5] += 1
    hashed = to_numpy(noise.hash_rows(rows.astype("int32")))
    assert hashed.dtype == "int32" and hashed.shape == (200,)
    assert hashed[0] == hashed[1]
    assert len(set(hashed)) == 199
    np.testing.assert_array_equal(
        hashed[4:5], to_numpy(noise.hash_rows(rows[4:5]))
    )
    assert hashed[:4].tolist() == GOLDEN_HASHES


GOLDEN_HASHES = [173138913, 173138913, -1942608893, -1269293127]


def test_step_may_be_a_tensor():
    step = keras.ops.convert_to_tensor(np.int32(3))
    np.testing.assert_array_equal(draw(step=step), draw(step=3))


def masks_of_drawn_seeds(rows):
    """As a training step draws them: noise whose seeds are noise."""
    seeds, _ = noise.threefry((rows[0], rows[1]), (rows, 0))
    ratios = noise.uniform(seeds, noise.MASK_RATIO_STREAM)
    order = noise.uniform(seeds, noise.MASK_ORDER_STREAM, num_positions=16)
    return masking.random_mask(ratios, order)


@pytest.mark.skipif(
    keras.config.backend() == "torch", reason="nothing is compiled"
)
def test_compiled_rounds_are_not_repeated():
    """Else each use repeats all rounds before it: compiling does not end."""
    rows = np.arange(16, dtype="int32")
    if keras.config.backend() == "jax":
        import jax

        program = jax.jit(masks_of_drawn_seeds).lower(rows).compile().as_text()
    else:
        import tensorflow as tf

        function = tf.function(masks_of_drawn_seeds, jit_compile=True)
        program = function.experimental_get_compiler_ir(tf.constant(rows))(
            stage="optimized_hlo"
        )
    # Three draws, one of which feeds two: 4 x 20 rounds and their parities.
    assert 0 < program.count(" xor(") <= 4 * 22
