"""LoRA: what trains, what is in the file, and what is refused."""

import os

import h5py
import keras
import numpy as np
import pytest

from keras_muse import MuseBase
from keras_muse.runtime.compiled import compile_function
from tests.helpers import tiny

MAKERS = [tiny.tiny_base, tiny.tiny_super_res, tiny.tiny_uvit]


def logits(model):
    function = compile_function(model, model.call_outputs)
    return tiny.to_numpy(function(tiny.tiny_data(model)))


def make_base(**changes):
    return tiny.tiny_base(**{"num_layers": 1, **changes})


def train(model, **options):
    model.compile(keras.optimizers.AdamW(0.03), **options)
    model.fit(tiny.tiny_data(model), epochs=2, verbose=0)
    return model


def trained(make=make_base, rank=2, **options):
    model = make()
    model.enable_lora(rank, **options)
    return train(model)


@pytest.fixture(scope="module")
def tuned():
    return trained()


@pytest.fixture(scope="module")
def adapters(tuned, tmp_path_factory):
    path = tmp_path_factory.mktemp("adapters") / "style.lora.h5"
    tuned.save_lora_weights(path)
    return path


@pytest.mark.parametrize("make", MAKERS)
def test_the_additions_alone_train(make):
    model, fresh = (make(name="model", num_layers=1) for _ in range(2))
    model.enable_lora(2)
    names = {v.name for v in model.trainable_weights}
    assert names == {"lora_kernel_a", "lora_kernel_b"}
    np.testing.assert_allclose(logits(model), logits(fresh), atol=1e-5)
    train(model)
    frozen = {v.path: v for v in model.non_trainable_weights}
    assert len(frozen) == len(fresh.weights)
    for before in fresh.weights:
        np.testing.assert_array_equal(
            tiny.to_numpy(frozen[before.path]), tiny.to_numpy(before)
        )
    for variable in model.trainable_weights:
        assert tiny.to_numpy(variable).any(), variable.path
    assert abs(logits(model) - logits(fresh)).max() > 1e-2


def test_a_bias_stays_as_it_is():
    """It is not in the file of the additions."""
    model = trained(target_layer_names=["head_logits"])
    bias = model.head_logits.bias
    assert not bias.trainable
    np.testing.assert_array_equal(
        tiny.to_numpy(bias), tiny.to_numpy(make_base().head_logits.bias)
    )


def test_generated_tokens_follow(adapters):
    """Functions that were compiled for the weights before are not used."""
    model = make_base()
    options = {**tiny.tiny_text(8), "num_steps": 2, "seed": 0, "verbose": 0}
    before = model.generate(**options)
    model.load_lora_weights(adapters)
    for variable in model.trainable_weights:
        variable.assign(variable + 0.5)
    after = model.generate(**options)
    assert (after != before).any()
    merged = make_base()
    for layer, other in zip(
        model._flatten_layers(), merged._flatten_layers(), strict=True
    ):
        if getattr(layer, "lora_enabled", False):
            other.kernel.assign(layer.kernel)
    np.testing.assert_array_equal(merged.generate(**options), after)


def test_with_less_memory():
    model = make_base()
    model.enable_lora(2)
    train(model, remat=True, gradient_accumulation_steps=2)
    assert all(tiny.to_numpy(v).any() for v in model.trainable_weights)


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_on_a_quantized_model(mode, tmp_path):
    """QLoRA: integers below, what trains above."""
    model, fresh = (make_base() for _ in range(2))
    for each in (model, fresh):
        each.quantize(mode)
    model.enable_lora(2)
    kernel = model.transformer_layers[0].self_attention.query._kernel
    before = tiny.to_numpy(kernel)
    train(model)
    assert before.dtype == "int8" and not kernel.trainable
    np.testing.assert_array_equal(tiny.to_numpy(kernel), before)
    path = tmp_path / "a.lora.h5"
    model.save_lora_weights(path)
    assert abs(logits(fresh) - logits(model)).max() > 1e-2
    fresh.load_lora_weights(path)
    np.testing.assert_allclose(logits(fresh), logits(model), atol=1e-5)


# === Files ===


def test_the_file_holds_the_additions_alone(tuned, adapters):
    sizes = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            sizes[name] = item.size

    with h5py.File(adapters) as file:
        file.visititems(collect)
    assert "layer_0/cross_attention/value/lora_kernel_b" in sizes
    assert len(sizes) == len(tuned.trainable_weights)
    assert sum(sizes.values()) == sum(
        tiny.to_numpy(v).size for v in tuned.trainable_weights
    )


@pytest.mark.parametrize("enabled", [False, True])
def test_into_a_fresh_model(tuned, adapters, enabled):
    model = make_base(name="another_name")
    if enabled:
        model.enable_lora(2)
    model.load_lora_weights(adapters)
    np.testing.assert_allclose(logits(model), logits(tuned), atol=1e-6)


def test_the_file_knows_its_layers(tmp_path):
    names = ["intermediate_dense", "attention_output"]
    model = trained(rank=3, target_layer_names=names)
    path = str(tmp_path / "a.lora.h5")
    model.save_lora_weights(path)
    fresh = make_base()
    fresh.load_lora_weights(path)
    assert len(fresh.trainable_weights) == len(model.trainable_weights)
    np.testing.assert_allclose(logits(fresh), logits(model), atol=1e-6)


@pytest.mark.filterwarnings("ignore:`compile.*was not called as part")
def test_the_whole_model_has_them_merged(tuned, tmp_path):
    tuned.save_to_preset(str(tmp_path / "preset"))
    tuned.save(str(tmp_path / "model.keras"))
    for loaded in (
        MuseBase.from_preset(str(tmp_path / "preset")),
        keras.saving.load_model(str(tmp_path / "model.keras")),
    ):
        assert len(loaded.weights) == len(make_base().weights)
        assert len(loaded.trainable_weights) == len(loaded.weights)
        np.testing.assert_allclose(logits(loaded), logits(tuned), atol=1e-6)


def test_a_failed_save_writes_nothing(tuned, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        tuned.save_lora_weights(tmp_path / "a.lora.h5")
    assert os.listdir(tmp_path) == []


# === Errors ===


def test_enabled_once():
    model = trained(rank=2)
    before = logits(model)
    with pytest.raises(ValueError, match="only once.*Received: rank=3"):
        model.enable_lora(3)
    np.testing.assert_array_equal(logits(model), before)


def test_layers_that_are_not_there():
    model = make_base()
    for names in (
        *(["query", "queri"], ["token_embedding"], "query", []),
        *((name for name in ["queri"]), iter([]), 3, None, [3]),
    ):
        with pytest.raises(ValueError, match="out of .*'query'.*Received"):
            model.enable_lora(2, target_layer_names=names)
    with pytest.raises(ValueError, match="'queri'"):
        model.enable_lora(2, target_layer_names=["query", "queri"])
    for rank in (0, 1.5, None):
        with pytest.raises(ValueError, match="`rank` must be"):
            model.enable_lora(rank)
    assert len(model.trainable_weights) == len(model.weights)


@pytest.mark.parametrize("kind", [iter, np.array, set])
def test_names_may_be_any_collection(kind):
    model, expected = (make_base(name="model") for _ in range(2))
    model.enable_lora(2, kind(["query", "value"]))
    expected.enable_lora(2)
    paths = [v.path for v in expected.trainable_weights]
    assert [v.path for v in model.trainable_weights] == paths


def test_compile_must_follow():
    model = train(make_base())
    model.enable_lora(2)
    with pytest.raises(ValueError, match=r"call `compile\(\)`"):
        model.fit(tiny.tiny_data(model), verbose=0)


def test_nothing_to_save(tmp_path):
    with pytest.raises(ValueError, match="before `enable_lora`"):
        make_base().save_lora_weights(tmp_path / "a.lora.h5")
    with pytest.raises(ValueError, match="end in .lora.h5. Received"):
        trained().save_lora_weights(tmp_path / "a.h5")
    assert os.listdir(tmp_path) == []


def with_lora(rank, names=("query", "value")):
    model = make_base()
    model.enable_lora(rank, names)
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: with_lora(3), r"layer_0/\S+ \(\(16, 2\).*\(16, 3\)"),
        (lambda: with_lora(2, ["key"]), "key .not in the file.*6 layer"),
        (
            lambda: make_base(num_layers=2),
            "of 13 Dense layers, not for a MuseBase of 23",
        ),
        (
            lambda: make_base(hidden_dim=8),
            r"layer_0/cross_attention/query \(\(16, 2\), \(2, 16\) instead",
        ),
        (tiny.tiny_uvit, "for a MuseBase.*not for a UViTBase"),
    ],
)
def test_a_file_that_does_not_fit(make, message, adapters):
    model = make()
    before, num_weights = logits(model), len(model.weights)
    with pytest.raises(ValueError, match=message):
        model.load_lora_weights(adapters)
    assert len(model.weights) == num_weights
    np.testing.assert_array_equal(logits(model), before)


def test_files_that_cannot_be_read(adapters, tmp_path):
    model = make_base()
    cut = tmp_path / "cut.lora.h5"
    cut.write_bytes(adapters.read_bytes()[:3000])
    with pytest.raises(ValueError, match="cut short.*Received: filepath"):
        model.load_lora_weights(cut)
    with pytest.raises(ValueError, match="no_file.lora.h5"):
        model.load_lora_weights(tmp_path / "no_file.lora.h5")
    other = tmp_path / "other.lora.h5"
    with h5py.File(other, "w") as file:
        file["layer_0/self_attention/query/kernel"] = np.zeros((16, 16))
    with pytest.raises(ValueError, match="two matrices.*self_attention/query"):
        model.load_lora_weights(other)
    assert len(model.trainable_weights) == len(model.weights)


def test_a_file_of_weights_would_leave_no_gradient(tmp_path):
    """Keras merges the additions as it saves, and loads zeros of both."""
    model = tiny.tiny_base()
    model.save_weights(tmp_path / "plain.weights.h5")
    model.load_weights(tmp_path / "plain.weights.h5")
    model.enable_lora(2)
    model.save_weights(tmp_path / "merged.weights.h5")
    before = [tiny.to_numpy(v) for v in model.weights]
    with pytest.raises(ValueError, match="`load_lora_weights`.*merged.weight"):
        model.load_weights(tmp_path / "merged.weights.h5")
    for old, v in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(tiny.to_numpy(v), old)
    tiny.tiny_base().load_weights(tmp_path / "merged.weights.h5")


def test_keras_own_backup_is_refused_before_the_first_step(tmp_path):
    model = tiny.tiny_base()
    model.enable_lora(2)
    model.compile()
    backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
    with pytest.raises(ValueError, match="`callbacks`.*`.*Checkpoint`"):
        model.fit(tiny.tiny_data(model), callbacks=[backup], verbose=0)
    assert not (tmp_path / "backup").exists()
