import keras
import numpy as np
import pytest
from scipy import special

from keras_muse.ops import attention
from tests.helpers.tiny import to_numpy


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def attend_plainly(*tensors):
    return attention.attend(*tensors, implementation="plain")


def numpy_attend(query, key, value, mask=None):
    """One query at a time, over the keys that exist."""
    result = np.zeros_like(query)
    for b, q, h in np.ndindex(query.shape[:3]):
        keys = np.ones(key.shape[1], bool) if mask is None else mask[b]
        if not keys.any():
            continue
        scores = key[b, keys, h] @ query[b, q, h] / np.sqrt(query.shape[-1])
        result[b, q, h] = special.softmax(scores) @ value[b, keys, h]
    return result


@pytest.fixture
def tensors():
    query, key, value = (
        random(3, n, 2, 8, seed=i) for i, n in enumerate((6, 5, 5))
    )
    mask = np.array([[1, 1, 0, 1, 0], [1] * 5, [0] * 5], bool)
    return query, key, value, mask


def test_attention_equals_numpy(tensors):
    actual = to_numpy(attention.attend(*tensors[:3]))
    np.testing.assert_allclose(actual, numpy_attend(*tensors[:3]), atol=1e-5)


def test_masked_attention_equals_numpy(tensors):
    actual = to_numpy(attention.attend(*tensors))
    np.testing.assert_allclose(actual, numpy_attend(*tensors), atol=1e-5)


def test_a_query_without_keys_gets_zero(tensors):
    actual = to_numpy(attention.attend(*tensors))
    np.testing.assert_array_equal(actual[2], 0)
    assert abs(actual[:2]).min(axis=-1).max() > 0


def test_masked_keys_do_not_matter_at_all(tensors):
    query, key, value, mask = tensors
    loud_key = np.where(mask[..., None, None], key, 1e3).astype("float32")
    loud_value = np.where(mask[..., None, None], value, 1e6).astype("float32")
    np.testing.assert_array_equal(
        to_numpy(attention.attend(query, loud_key, loud_value, mask)),
        to_numpy(attention.attend(query, key, value, mask)),
    )


def test_bfloat16_is_close_and_stays_bfloat16(tensors):
    half = [keras.ops.cast(x, "bfloat16") for x in tensors[:3]]
    actual = attention.attend(*half, tensors[3])
    assert keras.backend.standardize_dtype(actual.dtype) == "bfloat16"
    actual = to_numpy(keras.ops.cast(actual, "float32"))
    np.testing.assert_allclose(actual, numpy_attend(*tensors), atol=0.05)


# === Fused kernels ===


def with_gradients(implementation, query, key, value, mask=None):
    """Attention, and the gradients of a sum over it, on Torch."""
    import torch

    tensors = [torch.tensor(x, requires_grad=True) for x in (query, key, value)]
    attended = attention.attend(*tensors, mask, implementation=implementation)
    weights = torch.linspace(-1, 1, attended.numel()).reshape(attended.shape)
    gradients = torch.autograd.grad((attended * weights).sum(), tensors)
    return [to_numpy(x) for x in (attended, *gradients)]


@pytest.mark.parametrize("implementation", ["plain", None])
def test_a_mask_of_integers_is_one_of_bools(tensors, implementation):
    *tensors, mask = tensors
    found = [
        attention.attend(*tensors, x, implementation=implementation)
        for x in (mask, mask.astype("int32"))
    ]
    np.testing.assert_array_equal(*map(to_numpy, found))


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="no kernel on a processor"
)
@pytest.mark.parametrize("is_masked", [False, True])
def test_fused_attention_equals_plain(tensors, is_masked):
    tensors = tensors if is_masked else tensors[:3]
    plain = with_gradients("plain", *tensors)
    fused = with_gradients("fused", *tensors)
    for actual, expected in zip(fused, plain, strict=True):
        assert np.isfinite(actual).all()
        np.testing.assert_allclose(actual, expected, atol=1e-5)
    half = [keras.ops.cast(x, "bfloat16") for x in tensors[:3]]
    actual = attention.attend(*half, *tensors[3:], implementation="fused")
    assert keras.backend.standardize_dtype(actual.dtype) == "bfloat16"
    actual = to_numpy(keras.ops.cast(actual, "float32"))
    np.testing.assert_allclose(actual, numpy_attend(*tensors), atol=0.05)


@pytest.mark.skipif(
    keras.config.backend() == "torch", reason="has a kernel everywhere"
)
def test_where_there_is_no_kernel_attention_is_plain(tensors):
    assert attention.choose_implementation(*tensors[:2]) == "plain"
    with pytest.raises(ValueError, match="implementation='fused'.*Received"):
        attention.attend(*tensors, implementation="fused")


class Gpu:
    """What JAX says of a GPU."""

    platform, compute_capability = "gpu", "9.0"
    client = type("Client", (), {"platform_version": "PJRT C API\ncuda 13000"})


@pytest.mark.skipif(keras.config.backend() != "jax", reason="of JAX")
@pytest.mark.parametrize(
    "change, expected",
    [
        ({}, "fused"),
        ({"dtype": "float16"}, "fused"),
        ({"shape": (2, 64, 2, 128)}, "fused"),
        ({"dtype": "float32"}, "plain"),
        ({"shape": (2, 65, 2, 64)}, "plain"),
        ({"shape": (2, 64, 2, 4)}, "plain"),
        ({"shape": (2, 64, 2, 256)}, "plain"),
        ({"mask": np.ones((2, 64), bool)}, "fused"),
        ({"mask": np.ones((2, 24), bool), "num_keys": 24}, "fused"),
        ({"mask": np.ones((2, 77), bool), "num_keys": 77}, "plain"),
        ({"num_keys": 24}, "plain"),
        ({"platform": "tpu"}, "plain"),
        ({"compute_capability": "7.5"}, "plain"),
    ],
)
def test_which_attention_a_gpu_takes(monkeypatch, change, expected):
    from keras_muse.ops import _jax

    for name in {"platform", "compute_capability"} & set(change):
        monkeypatch.setattr(Gpu, name, change[name])
    calls = []
    monkeypatch.setattr(_jax.jax, "devices", lambda: [Gpu()])
    monkeypatch.setattr(
        _jax.jax.nn,
        "dot_product_attention",
        lambda query, *args, implementation, mask=None: (
            calls.append(implementation) or query
        ),
    )
    shape = change.get("shape", (2, 64, 2, 64))
    query = keras.ops.ones(shape, dtype=change.get("dtype", "bfloat16"))
    key = query[:, :1]
    key = keras.ops.repeat(key, change.get("num_keys", shape[1]), axis=1)
    attention.attend(query, key, key, change.get("mask"))
    assert calls == (["cudnn"] if expected == "fused" else [])


@pytest.mark.skipif(keras.config.backend() != "jax", reason="of JAX")
def test_what_a_gpu_is_given_hides_keys_and_empty_rows(tensors, monkeypatch):
    from keras_muse.ops import _jax

    kernel = _jax.jax.nn.dot_product_attention

    def on_a_processor(*tensors, implementation, mask):
        assert implementation == "cudnn"
        # cuDNN broadcasts over the heads alone.
        assert mask.shape == (len(mask), 1, tensors[0].shape[1], mask.shape[3])
        return kernel(*tensors, mask=mask)

    monkeypatch.setattr(_jax.jax.nn, "dot_product_attention", on_a_processor)
    assert not tensors[3].any(axis=1).all()  # some row has no key
    actual = to_numpy(_jax.fused_attention(*tensors))
    np.testing.assert_allclose(actual, numpy_attend(*tensors), atol=1e-5)


def test_attention_can_be_kept_plain(tensors):
    """By Keras' own switch."""
    keras.config.disable_flash_attention()
    try:
        assert attention.choose_implementation(*tensors[:2]) == "plain"
        actual = to_numpy(attention.attend(*tensors))
    finally:
        keras.config.enable_flash_attention()
    np.testing.assert_allclose(actual, numpy_attend(*tensors), atol=1e-5)


def test_unknown_implementations_raise(tensors):
    with pytest.raises(ValueError, match="`implementation`.*'cudnn2'"):
        attention.attend(*tensors, implementation="cudnn2")


# === Multi-axis attention ===


@pytest.mark.parametrize("grid, block", [((4, 4), 2), ((6, 4), 2), ((3, 9), 3)])
def test_blocks_are_squares_of_the_grid(grid, block):
    height, width = grid
    ids = np.arange(height * width)[None]
    blocks = to_numpy(attention.to_blocks(ids, grid, block))
    picture = ids.reshape(grid)
    expected = [
        picture[y : y + block, x : x + block].ravel()
        for y in range(0, height, block)
        for x in range(0, width, block)
    ]
    np.testing.assert_array_equal(blocks[0], expected)


def test_from_blocks_undoes_to_blocks():
    x = random(2, 24, 3, 5)
    blocks = attention.to_blocks(x, (6, 4), 2)
    assert blocks.shape == (2, 6, 4, 3, 5)
    np.testing.assert_array_equal(
        to_numpy(attention.from_blocks(blocks, (6, 4), 2)), x
    )


def seen_by(token, grid, block):
    """Who sees a token: inside its block, and across the blocks."""
    y, x = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    inside = (y // block == y[token] // block) & (
        x // block == x[token] // block
    )
    across = (y % block == y[token] % block) & (x % block == x[token] % block)
    return inside, across


def test_multi_axis_attention_equals_a_loop():
    grid, block = (6, 4), 2
    query, key, value = (random(2, 24, 4, 8, seed=i) for i in range(3))
    expected = np.zeros_like(query)
    for token in range(24):
        for heads, keys in zip(
            (slice(0, 2), slice(2, 4)),
            seen_by(token, grid, block),
            strict=True,
        ):
            expected[:, token : token + 1, heads] = numpy_attend(
                query[:, token : token + 1, heads],
                key[:, keys, heads],
                value[:, keys, heads],
            )
    actual = attention.attend_multi_axis(query, key, value, grid, block)
    np.testing.assert_allclose(to_numpy(actual), expected, atol=1e-5)


def test_which_tokens_see_a_change():
    grid, block, token = (6, 4), 2, 9
    query, key, value = (random(1, 24, 2, 4, seed=i) for i in range(3))
    changed = value.copy()
    changed[:, token] += 1

    def run(value):
        result = attention.attend_multi_axis(query, key, value, grid, block)
        return to_numpy(result)

    moved = (run(changed) != run(value)).any(axis=-1)[0]  # (tokens, heads)
    inside, across = seen_by(token, grid, block)
    np.testing.assert_array_equal(moved[:, 0], inside)
    np.testing.assert_array_equal(moved[:, 1], across)


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
def test_one_block_is_full_attention():
    query, key, value = (random(1, 16, 2, 4, seed=i) for i in range(3))
    multi_axis = attention.attend_multi_axis(query, key, value, (4, 4), 4)
    full = to_numpy(attention.attend(query, key, value))
    np.testing.assert_allclose(
        to_numpy(multi_axis)[:, :, 0], full[:, :, 0], atol=1e-6
    )


# === In parts ===


def gradients(function, tensors):
    """Of the sum of what a function returns, weighted at random."""

    def loss(*tensors):
        result = function(*tensors)
        weights = keras.ops.convert_to_tensor(random(*result.shape, seed=9))
        return keras.ops.sum(result * weights)

    backend = keras.config.backend()
    if backend == "jax":
        import jax

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*tensors)
    tensors = [keras.ops.convert_to_tensor(x) for x in tensors]
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function
        def graph(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                value = loss(*tensors)
            return tape.gradient(value, tensors)

        return graph(*tensors)
    for x in tensors:
        x.requires_grad_()
    loss(*tensors).backward()
    return [x.grad for x in tensors]


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("max_scores", [5, 10, 20])
def test_parts_of_the_queries_equal_all(
    tensors, monkeypatch, max_scores, with_mask
):
    """Of 6 queries with 5 keys each: 6 parts of 1, 3 of 2, and 2 of 3."""
    *tensors, mask = tensors

    def attend(*tensors):
        return attend_plainly(*tensors, mask if with_mask else None)

    expected = to_numpy(attend(*tensors))
    expected_gradients = gradients(attend, tensors)
    seen = count_calls(monkeypatch)
    monkeypatch.setattr(attention, "MAX_SCORES", max_scores)
    np.testing.assert_allclose(to_numpy(attend(*tensors)), expected, atol=1e-6)
    assert set(seen) == {(3, 2, max_scores // 5 - max_scores // 20, 8)}
    for actual, wanted in zip(
        gradients(attend, tensors), expected_gradients, strict=True
    ):
        assert abs(to_numpy(wanted)).max() > 0.1
        np.testing.assert_allclose(
            to_numpy(actual), to_numpy(wanted), atol=1e-5
        )


def count_calls(monkeypatch):
    """Shapes of the queries that are taken at once."""
    seen, whole = [], attention._attend
    monkeypatch.setattr(
        attention,
        "_attend",
        lambda query, *args: (
            seen.append(tuple(query.shape)) or whole(query, *args)
        ),
    )
    return seen


def test_parts_of_unequal_size_equal_all(tensors, monkeypatch):
    """Six queries in four parts, of which the last is empty."""
    expected = to_numpy(attend_plainly(*tensors))
    monkeypatch.setattr(attention, "MAX_SCORES", 9)
    actual = to_numpy(attend_plainly(*tensors))
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_parts_in_bfloat16(tensors, monkeypatch):
    half = [keras.ops.cast(x, "bfloat16") for x in tensors[:3]]
    monkeypatch.setattr(attention, "MAX_SCORES", 10)
    actual = attend_plainly(*half, tensors[3])
    assert keras.backend.standardize_dtype(actual.dtype) == "bfloat16"
    actual = to_numpy(keras.ops.cast(actual, "float32"))
    np.testing.assert_allclose(actual, numpy_attend(*tensors), atol=0.05)


@pytest.mark.skipif(
    keras.config.backend() != "jax", reason="asks the compiler of JAX"
)
class TestMemory:
    def lower(self, num_tokens, num_heads=1):
        import jax

        shape = (1, num_tokens, num_heads, 16)
        x = jax.ShapeDtypeStruct(shape, "float32")

        def loss(*tensors):
            return attend_plainly(*tensors).sum()

        return jax.jit(jax.grad(loss, (0, 1, 2))).lower(x, x, x)

    def test_many_queries_take_little_memory(self, monkeypatch):
        temporaries = {}
        for max_scores in (attention.MAX_SCORES, 2**24):
            monkeypatch.setattr(attention, "MAX_SCORES", max_scores)
            analysis = self.lower(4096).compile().memory_analysis()
            temporaries[max_scores] = analysis.temp_size_in_bytes
        in_parts, whole = temporaries.values()
        assert whole > 2 * 4096**2 * 4  # scores, and their gradient
        assert whole > 8 * in_parts

    def test_few_queries_are_not_parted(self):
        for num_tokens in (256, 1024):
            text = self.lower(num_tokens).as_text()
            assert "while" not in text and "optimization_barrier" not in text
        assert "while" in self.lower(1056).as_text()
