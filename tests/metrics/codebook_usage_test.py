import keras
import numpy as np
import pytest

from keras_muse.metrics import CodebookPerplexity
from keras_muse.metrics import CodebookUsage
from tests.helpers.tiny import to_numpy


@pytest.mark.parametrize("metric", [CodebookUsage, CodebookPerplexity])
def test_counts_over_batches_until_reset(metric):
    metric = metric(8)
    metric.update_state(np.array([[0, 1], [1, 0]], "int32"))
    first = float(metric.result())
    metric.update_state(np.array([2, 3, 2, 3], "int32"))
    assert float(metric.result()) == pytest.approx(2 * first)
    metric.reset_state()
    metric.update_state(np.array([[5]], "int32"))
    assert float(metric.result()) == pytest.approx(first / 2)


def test_usage():
    metric = CodebookUsage(5)
    assert float(metric.result()) == 0
    metric.update_state(np.array([[4, 4], [4, 2]], "int32"))
    assert float(metric.result()) == pytest.approx(0.4)


def test_perplexity_is_exp_of_the_entropy():
    ids = np.repeat(np.arange(4), [1, 2, 3, 10]).astype("int32")
    p = np.array([1, 2, 3, 10]) / 16
    metric = CodebookPerplexity(7)
    metric.update_state(ids)
    expected = np.exp(-(p * np.log(p)).sum())
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_many_tokens_are_counted_exactly():
    """Even where the policy is half precision, which counts to 256 only."""
    keras.config.set_dtype_policy("bfloat16")
    metric = CodebookPerplexity(2)
    for _ in range(8):
        metric.update_state(np.repeat([0, 1], [100, 300]).astype("int32"))
    counts = keras.ops.convert_to_numpy(
        keras.ops.cast(metric.counts, "float32")
    )
    assert counts.tolist() == [800, 2400]


@pytest.mark.parametrize("metric", [CodebookUsage, CodebookPerplexity])
def test_config_round_trip(metric):
    metric = metric(7, name="codes")
    config = keras.saving.serialize_keras_object(metric)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == metric.get_config()
    assert copy.codebook_size == 7 and copy.name == "codes"


@pytest.mark.parametrize("ids", [[0, 1, 4], [-1, 0], [0.6, 1.2]])
def test_ids_of_another_codebook_are_refused(ids):
    for metric in (CodebookUsage(4), CodebookPerplexity(4)):
        with pytest.raises(ValueError, match=r"`token_ids` .* \[0, 4\)"):
            metric.update_state(np.array(ids))
        assert not to_numpy(metric.counts).any()
        with pytest.raises(ValueError, match=r"`token_ids` .* \[0, 4\)"):
            metric.update_state(keras.ops.convert_to_tensor(ids))
        assert not to_numpy(metric.counts).any()


@pytest.mark.skipif(keras.config.backend() != "jax", reason="traces")
def test_ids_without_values_are_counted():
    import jax

    metric = CodebookUsage(4)
    update = jax.jit(metric.stateless_update_state)
    values = [v.value for v in metric.variables]
    (counts,) = update(values, np.array([[0, 3], [3, 3]], "int32"))
    assert to_numpy(counts).tolist() == [1, 0, 0, 3]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", None])
def test_codes_are_counted_in_float32(dtype):
    assert CodebookUsage(4, dtype=dtype).counts.dtype == "float32"


@pytest.mark.parametrize("ids", [[], np.zeros(0, "int32")])
def test_no_ids_are_refused(ids):
    with pytest.raises(ValueError, match="`token_ids` must not be empty"):
        CodebookUsage(4).update_state(ids)
