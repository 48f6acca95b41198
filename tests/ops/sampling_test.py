import numpy as np
import pytest
from keras.ops import convert_to_tensor as tensor
from scipy import special
from scipy import stats

from keras_muse.ops import noise
from keras_muse.ops import sampling
from tests.helpers.tiny import to_numpy


@pytest.fixture
def logits():
    logits = np.random.default_rng(0).standard_normal((3, 4, 10)) * 2
    return logits.astype("float32")


def test_guidance_of_one_is_the_conditional_model(logits):
    np.testing.assert_allclose(
        sampling.guide(logits, logits[::-1], 1.0), logits, atol=1e-6
    )


def test_guidance_of_zero_is_the_unconditional_model(logits):
    np.testing.assert_array_equal(
        sampling.guide(logits, logits[::-1], 0.0), logits[::-1]
    )


def test_guidance_is_the_papers_with_t_one_less(logits):
    conditional, unconditional, t = logits, logits[::-1], 2.5
    np.testing.assert_allclose(
        sampling.guide(conditional, unconditional, 1 + t),
        (1 + t) * conditional - t * unconditional,
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("top_k", [1, 3, 10, 50])
def test_top_k_keeps_the_best(logits, top_k):
    filtered = to_numpy(sampling.filter_top_k(tensor(logits), top_k))
    threshold = np.sort(logits, axis=-1)[..., -min(top_k, 10), None]
    kept = logits >= threshold
    np.testing.assert_array_equal(filtered[kept], logits[kept])
    assert (filtered[~kept] == np.float32(-1e38)).all()
    assert (kept.sum(axis=-1) == min(top_k, 10)).all()


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.9, 0.999, 1.0])
def test_top_p_keeps_the_smallest_set(logits, top_p):
    filtered = to_numpy(sampling.filter_top_p(tensor(logits), top_p))
    for row, result in zip(
        logits.reshape(-1, 10), filtered.reshape(-1, 10), strict=True
    ):
        p = special.softmax(row.astype("float64"))
        order = np.argsort(-p)
        number = 1 + np.searchsorted(np.cumsum(p[order]), top_p - 1e-7)
        kept = np.isin(np.arange(10), order[: min(number, 10)])
        np.testing.assert_array_equal(result[kept], row[kept])
        assert (result[~kept] == np.float32(-1e38)).all()


def test_sample_follows_softmax():
    logits = np.array([1.0, 0.0, -1.0, 2.0, -3.0], "float32")
    num_rows = 20_000
    u = noise.code_uniform(
        np.arange(num_rows, dtype="int32"), noise.TOKEN_STREAM, 0, 1, 5
    )
    drawn = to_numpy(
        sampling.sample(tensor(logits[None, None]), noise.gumbel(u))
    )
    assert drawn.shape == (num_rows, 1) and drawn.dtype == "int32"
    counts = np.bincount(drawn[:, 0], minlength=5)
    expected = special.softmax(logits.astype("float64")) * num_rows
    assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_dropped_codes_are_never_drawn():
    logits = np.zeros((1, 1, 64), "float32")
    logits[..., :3] = 0.1
    u = noise.code_uniform(np.arange(5000, dtype="int32"), 0, 0, 1, 64)
    filtered = sampling.filter_top_k(tensor(logits), 3)
    drawn = to_numpy(sampling.sample(filtered, noise.gumbel(u)))
    assert set(drawn.ravel()) == {0, 1, 2}


def test_log_probability(logits):
    token_ids = np.random.default_rng(1).integers(0, 10, (3, 4))
    expected = np.take_along_axis(
        special.log_softmax(logits.astype("float64"), axis=-1),
        token_ids[..., None],
        axis=-1,
    )[..., 0]
    actual = sampling.log_probability(logits, token_ids.astype("int32"))
    np.testing.assert_allclose(to_numpy(actual), expected, atol=1e-5)
