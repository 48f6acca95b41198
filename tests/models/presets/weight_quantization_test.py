"""Weights as integers: what stays near, what is saved, and what is refused."""

import keras
import numpy as np
import pytest

import keras_muse
from keras_muse import MuseBase
from keras_muse.runtime.compiled import compile_function
from tests.helpers import tiny
from tests.helpers import tiny_muse

MAKERS = [tiny.tiny_base, tiny.tiny_super_res, tiny.tiny_uvit]
# Mean error of the logits, of which the spread is 1; chance gives 1.1.
NEAR = {"int8": 0.05, "int4": 0.6}


def logits(model):
    function = compile_function(model, model.call_outputs)
    return tiny.to_numpy(function(tiny.tiny_data(model)))


def weight_bytes(model):
    return sum(tiny.to_numpy(weight).nbytes for weight in model.weights)


@pytest.mark.parametrize(
    ("make", "mode"), [(tiny.tiny_base, "int8"), *((m, "int4") for m in MAKERS)]
)
def test_a_quantized_model(make, mode, tmp_path, recwarn):
    model = make(num_layers=1)
    plain, num_bytes = logits(model), weight_bytes(model)
    recwarn.clear()
    model.quantize(mode)
    assert not [w for w in recwarn if "quantize" in str(w.message)]
    quantized = logits(model)
    assert 0 < abs(quantized - plain).mean() < NEAR[mode] * plain.std()
    assert weight_bytes(model) < 0.6 * num_bytes
    model.save_to_preset(str(tmp_path / "preset"))
    loaded = type(model).from_preset(str(tmp_path / "preset"))
    assert loaded.get_config() == model.get_config()
    np.testing.assert_allclose(logits(loaded), quantized, atol=1e-5)


def test_tokens_of_a_quantized_model():
    """Functions that were compiled for the weights before are not used."""
    model, other = tiny.tiny_base(), tiny.tiny_base()
    options = {**tiny.tiny_text(8), "num_steps": 2, "seed": 0, "verbose": 0}
    before = model.generate(**options)
    for each in (model, other):
        each.quantize("int4")
    after = model.generate(**options)
    np.testing.assert_array_equal(after, other.generate(**options))
    assert (after != before).any()


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_quantized_text_encoder_of_another_dtype(mode, tmp_path):
    encoder = tiny_muse.tiny_text_encoder()
    encoder.quantize(mode)
    encoder.save_to_preset(str(tmp_path))
    expected = encoder.encode("a red apple")[0]
    for dtype, error in (
        ("float32", 1e-5),
        ("mixed_bfloat16", 0.1),
        (keras.DTypePolicy("bfloat16"), 0.1),
    ):
        loaded = type(encoder).from_preset(str(tmp_path), dtype=dtype)
        query = loaded.encoder_layers[0].query
        assert query.quantization_mode == mode
        name = getattr(dtype, "name", dtype)
        compute_dtype = keras.DTypePolicy(name).compute_dtype
        assert loaded.embedding_norm.compute_dtype == compute_dtype
        assert query.compute_dtype == compute_dtype
        assert query.variable_dtype == keras.DTypePolicy(name).variable_dtype
        embeddings = loaded.encode("a red apple")[0]
        np.testing.assert_allclose(embeddings, expected, atol=error)


def test_some_layers_only(tmp_path):
    model = tiny.tiny_base(num_layers=1)
    model.quantize("int8", filters="intermediate_dense|output_dense")
    model.quantize("int4", filters=["codes"])
    modes = {
        layer.name: layer.quantization_mode
        for layer in model._flatten_layers()
        if layer.quantization_mode
    }
    assert modes == {
        "intermediate_dense": "int8",
        "output_dense": "int8",
        "codes": "int4",
    }
    model.save_to_preset(str(tmp_path / "preset"))
    loaded = MuseBase.from_preset(str(tmp_path / "preset"))
    assert loaded.head_logits.quantization_mode is None
    np.testing.assert_allclose(logits(loaded), logits(model), atol=1e-5)


def test_blocks_of_another_size(tmp_path):
    model, default = (tiny.tiny_base(num_layers=1) for _ in range(2))
    model.quantize(config=keras.quantizers.Int4QuantizationConfig(block_size=4))
    default.quantize("int4")
    assert weight_bytes(model) > weight_bytes(default)
    assert (logits(model) != logits(default)).any()
    model.save_to_preset(str(tmp_path / "preset"))
    loaded = MuseBase.from_preset(str(tmp_path / "preset"))
    np.testing.assert_allclose(logits(loaded), logits(model), atol=1e-5)


@pytest.mark.parametrize("mode", NEAR)
def test_a_quantized_text_encoder(mode, tmp_path):
    encoder = tiny_muse.tiny_text_encoder()
    plain = encoder.encode("a red apple")[0]
    encoder.quantize(mode)
    quantized = encoder.encode("a red apple")[0]
    assert 0 < abs(quantized - plain).mean() < NEAR[mode] * plain.std()
    encoder.save_to_preset(str(tmp_path / "preset"))
    loaded = keras_muse.MiniLMTextEncoder.from_preset(str(tmp_path / "preset"))
    np.testing.assert_allclose(
        loaded.encode("a red apple")[0], quantized, atol=1e-6
    )


def test_what_is_refused():
    model = tiny.tiny_base(num_layers=1)
    for mode in ("float8", "gptq", "awq", "int2", None):
        with pytest.raises(ValueError, match="(?i)mode|gptq|awq"):
            model.quantize(mode)
    with pytest.raises(ValueError, match="one of .*'int4'.*'gptq'"):
        model.quantize(config=keras.quantizers.GPTQConfig(["a"], None))
    with pytest.raises(ValueError, match="no layer to quantize.*'heads'"):
        model.quantize("int8", filters="heads")
    for filters in ("(", ["query", "("], 5, [5]):
        with pytest.raises(ValueError, match="`filters` must be a regular"):
            model.quantize("int8", filters=filters)
    assert "quantization" not in model.get_config()
    model.quantize("int8")
    with pytest.raises(ValueError, match="already quantized"):
        model.quantize("int8")


def test_twice_is_refused_before_anything_changes():
    model = tiny.tiny_base(num_layers=1)
    model.quantize("int8", filters="query")
    before = [tuple(weight.shape) for weight in model.weights]
    with pytest.raises(ValueError, match="already quantized.*query"):
        model.quantize("int8")
    assert [tuple(weight.shape) for weight in model.weights] == before
    model.quantize("int8", filters="key")  # another layer


def test_a_muse_with_a_quantized_part_stays_as_it_is():
    muse = tiny_muse.tiny_muse(cascade=False)
    muse.base.quantize("int8")
    with pytest.raises(ValueError, match="a Muse whose base are"):
        muse.quantize("int8")
    assert not any("int8" in str(w.dtype) for w in muse.text_encoder.weights)


def test_a_whole_muse(tmp_path):
    muse = tiny_muse.tiny_muse(cascade=False)
    options = {"num_steps": 2, "seed": 0}
    plain = muse.generate("a cat", verbose=0, **options)
    with pytest.raises(ValueError, match="mode='float8'"):
        muse.quantize("float8")
    muse.quantize("int8")
    muse.text_encoder.preset = "all_minilm_l6_v2"  # as if loaded by name
    for part in (muse.text_encoder, muse.base):
        assert any("int8" in str(w.dtype) for w in part.weights)
    images = muse.generate("a cat", verbose=0, **options)
    assert images.shape == plain.shape
    # What was loaded by name is not the same any more: it is copied.
    muse.save_to_preset(str(tmp_path / "muse"))
    loaded = keras_muse.Muse.from_preset(str(tmp_path / "muse"))
    assert any("int8" in str(w.dtype) for w in loaded.text_encoder.weights)
    np.testing.assert_array_equal(
        loaded.generate("a cat", verbose=0, **options), images
    )


def test_a_model_of_convolutions_is_refused():
    tokenizer = tiny.tiny_tokenizer()
    with pytest.raises(ValueError, match="VQGANTokenizer has no layer"):
        tokenizer.quantize("int8")


# === Full fine-tuning ===


def test_parts_can_be_frozen():
    model = tiny.tiny_base()
    model.token_embedding.trainable = False
    before = model.get_weights()
    model.compile(keras.optimizers.AdamW(0.01))
    model.fit(tiny.tiny_data(model), verbose=0)
    changed = {
        weight.path.split("/")[1]
        for weight, old in zip(model.weights, before, strict=True)
        if (tiny.to_numpy(weight) != old).any()
    }
    assert "token_embedding" not in changed
    assert {"layer_0", "layer_1", "head_logits"} <= changed
