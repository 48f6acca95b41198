"""benchmarks/accelerator.py, with toys on a processor, and what it counts."""

import importlib
import json
import math
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_muse
from keras_muse.layers import initializers
from keras_muse.models.transformers import decoding

ROOT = pathlib.Path(__file__).parents[2]
TEXT_LENGTH = 16
# So wide that what goes element by element is a few percent.
WIDE = {
    "codebook_size": 512,
    "text_dim": 128,
    "num_layers": 2,
    "hidden_dim": 256,
    "num_heads": 4,
    "intermediate_dim": 1024,
}


@pytest.fixture
def benchmark(monkeypatch):
    """Imports one of the benchmark's modules by its name."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module


# === Rows ===


@pytest.fixture(scope="module")
def rows():
    """One row of each kind, with both attentions."""
    chosen = ["generate_632m", "train_632m", "cascade", "train_f16"]
    command = ["benchmarks/accelerator.py", "--toy", "--json", "--rows"]
    result = subprocess.run(
        [sys.executable, *command, *chosen],
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_first_row_tells_the_device(rows):
    first = rows[0]
    assert first["device"] == "cpu" and first["count"] >= 1
    assert first["keras"] == keras.__version__ and first["jax"]
    assert len(first["date"].split("-")) == 3


def test_rows_come_as_promised(rows):
    assert [(row["what"], row.get("attention")) for row in rows[1:]] == [
        ("matmul", None),
        ("generate", "fused"),
        ("train", "fused"),
        ("generate", "plain"),
        ("train", "plain"),
        ("cascade", "fused"),
        ("cascade", "plain"),
        ("train_tokenizer", None),
    ]


def test_rows_have_figures_or_a_reason(rows):
    for row in rows[1:]:
        if row.get("attention") == "fused":
            # JAX has no such kernel for a processor.
            assert "fused" in row["error"] and "seconds" not in row
            continue
        assert "error" not in row and "skipped" not in row, row
        for name in ("seconds", "first_call", "tflops"):
            assert math.isfinite(row[name]) and row[name] > 0, row
        assert row["first_call"] > row["seconds"]
        if row["what"] != "matmul":
            ratio = row["tflops"] / rows[1]["tflops"]
            assert row["ratio_to_matmul"] == ratio > 0


def test_no_row_starts_without_time(benchmark, capsys):
    accelerator = benchmark("accelerator")
    accelerator.main(["--json", "--minutes", "0"])
    first, *rows = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["what"] == "device"
    assert all(row["skipped"] == "no time" for row in rows)
    assert not any("seconds" in row or "error" in row for row in rows)
    # Nothing is forgotten, and nothing comes twice.
    names = ("what", "model", "batch", "attention")
    keys = [tuple(row.get(name) for name in names) for row in rows]
    assert len(set(keys)) == len(keys) == 19
    for attention in ("plain", "fused"):
        for model in ("muse_base_632m", "muse_base_3b"):
            for batch in (1, 8):
                assert ("generate", model, batch, attention) in keys
            assert any(
                key[:2] == ("train", model) and key[3] == attention
                for key in keys
            )


def test_table_is_aligned(benchmark, capsys):
    accelerator = benchmark("accelerator")
    accelerator.main(["--minutes", "0"])
    _, head, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 19
    for line in lines:
        assert line[head.index("skipped") :] == "no time"
        assert line[head.index("dtype") :].startswith(("bfloat", "mixed"))


def test_attention_must_be_known(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark("accelerator").main(["--attention", "flash"])
    message = capsys.readouterr().err
    assert "flash" in message and "plain" in message and "fused" in message


@pytest.mark.skipif(
    keras.config.backend() == "torch", reason="has a kernel everywhere"
)
def test_attention_is_switched_and_a_missing_kernel_is_named(benchmark):
    rows = benchmark("accelerator_rows")
    try:
        rows.set_attention("plain")
        assert keras.config.is_flash_attention_enabled() is False
        with pytest.raises(ValueError, match="implementation='fused'.*Rec"):
            rows.set_attention("fused")
    finally:
        keras.config.enable_flash_attention()


def test_batch_is_halved_until_it_finds_room(benchmark):
    rows = benchmark("accelerator_rows")

    def train_at(batch):
        if batch > 4:
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return {"seconds": 1.0}

    figures = rows.at_largest_batch(train_at, 16)
    assert figures == {"seconds": 1.0, "batch": 4}

    def fail(batch):
        raise RuntimeError("another reason")

    with pytest.raises(RuntimeError, match="another reason"):
        rows.at_largest_batch(fail, 16)


# === FLOPs ===


@pytest.mark.skipif(keras.config.backend() != "jax", reason="asks XLA")
class TestFlops:
    """XLA counts what goes element by element, too: a little more."""

    @pytest.fixture(autouse=True)
    def zeros(self):
        with initializers.skip_random_weights():
            yield

    @pytest.fixture(params=["base", "super_res"])
    def model(self, request):
        if request.param == "base":
            return keras_muse.MuseBase(grid_size=(8, 8), **WIDE)
        return keras_muse.MuseSuperRes(
            grid_size=(16, 16),
            low_res_codebook_size=512,
            low_res_grid_size=(8, 8),
            low_res_num_layers=1,
            block_size=4,
            use_gated_activation=True,
            **WIDE,
        )

    def test_generate(self, model, benchmark):
        def generate(inputs):
            """The one step of a generation of one step."""
            context, mask = model.context(inputs)
            context = model.project_context(context), mask
            tokens = inputs["token_ids"][:2]
            x = decoding._guided_features(model, tokens, context, 3.0)
            return model.head_logits(x)

        by_xla = xla_flops(generate, model.variables, make_inputs(model, 4))
        flops = benchmark("flops")
        counted = flops.generate_flops(model, 2, TEXT_LENGTH, num_steps=1)
        assert 1 < by_xla / counted < 1.05
        # Of more steps, only the context is shared.
        two = flops.generate_flops(model, 2, TEXT_LENGTH, num_steps=2)
        context = 4 * flops.context_flops(model, TEXT_LENGTH)
        assert two - counted == counted - context

    def test_train(self, model, benchmark):
        import jax

        def loss(values, inputs):
            with scope(model.trainable_variables, values):
                return ops.mean(model.call_outputs(inputs) ** 2)

        values = [v.value for v in model.trainable_variables]
        lowered = jax.jit(jax.value_and_grad(loss)).lower(
            values, make_inputs(model, 2)
        )
        by_xla = lowered.cost_analysis()["flops"]
        counted = benchmark("flops").train_flops(model, 2, TEXT_LENGTH)
        assert 1 < by_xla / counted < 1.03

    @pytest.mark.parametrize("downsampling", ["avg_pool", "conv"])
    def test_tokenizer(self, downsampling, benchmark):
        tokenizer = keras_muse.VQGANTokenizer(
            base_channels=32,
            channel_multipliers=(1, 2),
            num_res_blocks=1,
            codebook_size=512,
            codebook_dim=32,
            num_groups=4,
            downsampling=downsampling,
        )
        images = np.zeros((2, 128, 64, 3), "float32")
        by_xla = xla_flops(tokenizer.call_outputs, tokenizer.variables, images)
        counted = benchmark("flops").reconstruct_flops(tokenizer, images.shape)
        # It leaves out the products with the padding at the border.
        assert 0.98 < by_xla / counted < 1.02


def scope(variables, values):
    return keras.StatelessScope(list(zip(variables, values, strict=True)))


def xla_flops(function, variables, inputs):
    """Before compilation, which hides products in calls of libraries."""
    import jax

    def stateless(values, inputs):
        with scope(variables, values):
            return function(inputs)

    lowered = jax.jit(stateless).lower([v.value for v in variables], inputs)
    return lowered.cost_analysis()["flops"]


def make_inputs(model, batch):
    inputs = {
        "token_ids": np.zeros((batch, model.num_tokens), "int32"),
        "text_embeddings": np.zeros(
            (batch, TEXT_LENGTH, model.text_dim), "float32"
        ),
        "text_mask": np.ones((batch, TEXT_LENGTH), "bool"),
    }
    if isinstance(model, keras_muse.MuseSuperRes):
        num_low_res = math.prod(model.low_res_grid_size)
        inputs["low_res_token_ids"] = np.zeros((batch, num_low_res), "int32")
    return inputs
