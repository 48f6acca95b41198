"""The parts of benchmarks/tpu/tpu_compile.py that need no TPU compiler."""

import importlib
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.helpers.xla_flags import xla_flags

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def hlo_traffic(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks/tpu")
    return importlib.import_module("hlo_traffic")


@pytest.fixture
def tpu_compile(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks/tpu")
    return importlib.import_module("tpu_compile")


# In the form in which libtpu writes it: HBM has no space, `S(1)` is on chip.
PROGRAM = """HloModule jit_step, is_scheduled=true

%start.1 (p.0: bf16[4,8]) -> (bf16[4,8], bf16[16,8], u32[]) {
  %p.0 = bf16[4,8]{1,0:T(8,128)(2,1)} parameter(0)
  %all-gather.1 = bf16[16,8]{1,0:T(8,128)(2,1)} all-gather(%p.0), \
channel_id=3, replica_groups=mesh['axis_0'=4] {'axis_0'}, dimensions={0}
  ROOT %custom-call = (bf16[4,8]{1,0}, bf16[16,8]{1,0}, u32[]{:S(2)}) \
custom-call(%p.0, %all-gather.1), custom_call_target="Start"
}

%async_collective_fusion.2 (p.1: bf16[4,8]) -> (f32[2], bf16[16,8]) {
  %p.1 = bf16[4,8]{1,0:T(8,128)(2,1)} parameter(0)
  %all-gather.2 = bf16[16,8]{1,0:T(8,128)(2,1)S(1)} all-gather(%p.1), \
channel_id=3, replica_groups=mesh['axis_0'=4] {'axis_0'}, dimensions={0}
}

%all-reduce-scatter.5 (p.2: bf16[16,8]) -> bf16[4,8] {
  %p.2 = bf16[16,8]{1,0} parameter(0)
  %all-reduce.9 = bf16[16,8]{1,0} all-reduce(%p.2), channel_id=4, \
replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %dynamic-slice = bf16[4,8]{1,0} dynamic-slice(%all-reduce.9)
}

ENTRY %main (a: bf16[4,8], b: f32[100]) -> f32[100] {
  %a = bf16[4,8]{1,0:T(8,128)(2,1)} parameter(0)
  %b = f32[100]{0:T(128)} parameter(1)
  %go = (bf16[4,8]{1,0}, bf16[16,8]{1,0:T(8,128)}, u32[]{:S(2)}) \
fusion(%a), kind=kCustom, output_to_operand_aliasing={{0}: (0, {})}, \
calls=%start.1
  %near = (f32[100]{0:T(128)S(1)}, f32[100]{0:T(128)}, u32[]{:S(2)}) \
copy-start(%b)
  %there = f32[100]{0:T(128)S(1)} copy-done(%near)
  %sum = f32[100]{0:T(128)} all-reduce(%there), channel_id=5, \
replica_groups=[1,4]<=[4], to_apply=%add
  %send = (f32[10]{0:S(1)}, f32[10]{0:S(1)}, u32[], u32[]) \
collective-permute-start(%there), channel_id=6
  ROOT %out = f32[100]{0:T(128)} fusion(%sum, %there), kind=kLoop, calls=%f
}
"""


def test_collectives_count_once_by_kind(hlo_traffic):
    assert hlo_traffic.collective_bytes(PROGRAM) == {
        "all-gather": 16 * 8 * 2,  # twice in the text, on one channel
        "reduce-scatter": 16 * 8 * 2,  # the operand
        "all-reduce": 2 * 100 * 4,
        "collective-permute": 10 * 4,
    }


def test_hbm_traffic_leaves_out_what_stays_on_the_chip(hlo_traffic):
    gathered = 16 * 8 * 2  # written; the operand is passed on
    copied = 100 * 4  # read
    summed = 100 * 4  # written
    out = 2 * 100 * 4  # one operand read, the other is on chip; written
    assert hlo_traffic.hbm_bytes(PROGRAM) == gathered + copied + summed + out


@pytest.mark.parametrize(
    "groups",
    [
        "{{0,1},{2,3}}, use_global_device_ids=true",
        "[2,2]<=[2,2]T(1,0), dimensions={0}",
        "mesh['axis_0'=8,'axis_1'=2] {'axis_1'}",
    ],
)
def test_group_size(groups, hlo_traffic):
    line = f"channel_id=1, replica_groups={groups}, to_apply=%add"
    assert hlo_traffic.group_size(line) == 2


def test_collectives_of_a_program_of_xla():
    """Weights cut over four devices: gathered once, gradient scattered."""
    script = """
import json
import sys
sys.path.insert(0, "benchmarks/tpu")
import jax
import hlo_traffic
from jax.sharding import NamedSharding, PartitionSpec as P
mesh = jax.sharding.Mesh(jax.devices(), ("batch",))
def struct(*shape):
    return jax.ShapeDtypeStruct(
        shape, "float32", sharding=NamedSharding(mesh, P("batch")))
def loss(w, x):
    return ((x @ w) ** 2).sum()
cut = struct(8).sharding
step = jax.jit(jax.value_and_grad(loss), out_shardings=(None, cut))
compiled = step.lower(struct(64, 32), struct(8, 64)).compile()
print(json.dumps(hlo_traffic.collective_bytes(compiled.as_text())))
"""
    result = run(
        ["-c", script],
        XLA_FLAGS=xla_flags(4),
    )
    found = json.loads(result.stdout)
    weights = 64 * 32 * 4
    assert found["all-gather"] == weights
    # The CPU's compiler reduces the gradient, then slices.
    assert found["all-reduce"] == 2 * (weights + 4)


def test_step_time_is_the_longest_of_three(tpu_compile):
    chip = {"flops": 100.0, "bandwidth": 10.0, "links": 1.0}
    costs = {"flops": 300.0, "bytes accessed": 1e3}
    figures = tpu_compile.time_figures(costs, 20, {"all-gather": 1}, chip)
    assert figures["step_ms_at_least"] == figures["arithmetic_ms"] == 3000
    assert figures["hbm_ms"] == 2000 and figures["links_ms"] == 1000
    assert figures["bound_by"] == "arithmetic"
    many = {"all-gather": 3, "all-reduce": 1}
    figures = tpu_compile.time_figures(costs, 20, many, chip)
    assert figures["step_ms_at_least"] == 4000
    assert figures["bound_by"] == "links"
    assert figures["collective_gb"] == 4e-9


def test_days_of_training(tpu_compile):
    # The paper's week is 0.4 s per step.
    days = tpu_compile.training_days("MuseBase", 0.4032, batch=512)
    assert days == pytest.approx(7)
    half = tpu_compile.training_days("MuseBase", 0.4032, batch=256)
    assert half == pytest.approx(14)
    assert tpu_compile.training_days(
        "MuseSuperRes", 0.4032, batch=512
    ) == pytest.approx(7 / 1.5)


def test_libtpu_is_what_jax_asks_for(tpu_compile):
    requirement = tpu_compile.libtpu_requirement(
        importlib.metadata.requires("jax")
    )
    assert requirement.startswith("libtpu==")
    with pytest.raises(ValueError, match="requirements=\\['numpy'\\]"):
        tpu_compile.libtpu_requirement(["numpy"])


def test_environment_is_made_once_and_only_if_whole(
    tpu_compile, monkeypatch, tmp_path
):
    calls = []

    def create(environment, **options):
        calls.append("create")
        version = "python{}.{}".format(*sys.version_info)
        packages = environment / "lib" / version / "site-packages"
        packages.mkdir(parents=True, exist_ok=True)

    def install(command, **options):
        calls.append(command[-1])
        if len(calls) == 2:
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(tpu_compile.venv, "create", create)
    monkeypatch.setattr(tpu_compile.subprocess, "run", install)
    with pytest.raises(subprocess.CalledProcessError):
        tpu_compile.prepare_environment(tmp_path)
    tpu_compile.prepare_environment(tmp_path)
    assert calls[2] == "create" and calls[3].startswith("libtpu==")
    tpu_compile.prepare_environment(tmp_path)
    assert len(calls) == 4


def test_unknown_topology():
    result = run(
        ["benchmarks/tpu/tpu_compile.py", "--topology", "v9:2x2"], check=2
    )
    assert "v5e" in result.stderr and "v9:2x2" in result.stderr
    assert not result.stdout


def test_steps_lower_without_weights():
    """Both steps, on a mesh of processors, and what they would keep."""
    script = """
import math
import sys
sys.path.insert(0, "benchmarks/tpu")
import jax
import keras
import tpu_steps
from keras_muse.models.presets import architectures as presets
from keras_muse.training import model_parallel
sizes = dict(
    codebook_size=64, grid_size=(8, 8), text_dim=16, num_layers=2,
    hidden_dim=32, num_heads=2, intermediate_dim=64,
)
presets.ARCHITECTURES["base"] = ("MuseBase", sizes)
presets.ARCHITECTURES["super_res"] = ("MuseSuperRes", dict(
    sizes, low_res_codebook_size=64, low_res_grid_size=(4, 4),
    low_res_num_layers=1, block_size=4))
model_parallel(fully_sharded=True)
for name in ("base", "super_res"):
    for remat in (True, False):
        model = tpu_steps.build_model(name, remat)
        lowered = tpu_steps.lower_step(model, "train", 8, 4)
        names = lowered.as_text(debug_info=True)
        assert ("rematted_computation" in names) == remat, name
    kept = lowered.compile().memory_analysis().argument_size_in_bytes
    everything = sum(
        4 * math.prod(w.shape)
        for w in (*model.variables, *model.optimizer.variables))
    assert kept < 0.5 * everything, (kept, everything)
    model = tpu_steps.build_model(name, False)
    lowered = tpu_steps.lower_step(model, "generate", 8, 4)
    tokens, confidence = lowered.out_info
    assert tokens.shape == confidence.shape == (8, 64)
    assert all(w._value is None for w in model.trainable_variables)
print("done")
"""
    result = run(
        ["-c", script],
        XLA_FLAGS=xla_flags(4),
    )
    assert result.stdout.endswith("done\n")


def run(arguments, check=0, **environment):
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(ROOT),
            **environment,
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == check, result.stderr[-4000:]
    return result
