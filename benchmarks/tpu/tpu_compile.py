"""Compiles the paper's models for TPU slices, ahead of time, without a TPU.

The compiler is the real one: the `libtpu` wheel that this jax asks for, in a
virtual environment of its own, which the script makes on the first run. No
weight is allocated and nothing is executed, so that the 3 billion compile on
a small machine. What is compiled is the step that `model.fit` compiles
(`train`), or the guided decoding step of `model.generate` (`generate`).

    python benchmarks/tpu/tpu_compile.py
    python benchmarks/tpu/tpu_compile.py --model muse_base_3b \\
        --topology v4:8x8x4
    python benchmarks/tpu/tpu_compile.py --step generate \\
        --topology v5e:2x2 --json

A topology is a generation and the chips along each axis; the paper's 512
TensorCores are the 256 chips of `v4:8x8x4`. The layouts are those of
`keras_muse.training.model_parallel`: heads and columns of the MLPs are split
over groups of `--model-parallel` devices, and weights with the optimizer's
slots over all of them with `--fully-sharded`.

All figures are of one device and one step. `fits` says whether the program
finds room in the device's memory; where it does not the exit status is 1.
`step_ms_at_least` is the longest of the times that arithmetic, HBM and links
take at the chip's published rates: a lower bound, which no program reaches.
`accessed_gb` is XLA's count, which includes what stays on the chip; `hbm_gb`
is what leaves it. `days_at_least` are those of the paper's number of steps at
its batch of 512.
"""

import argparse
import importlib.metadata
import math
import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import time
import venv

from hlo_traffic import collective_bytes
from hlo_traffic import hbm_bytes

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from table import print_rows  # noqa: E402

# Of one chip: FLOP/s in bfloat16, GiB of HBM, bytes/s to it, and bytes/s into
# the chip over all its links. https://cloud.google.com/tpu/docs/v4 and so on.
CHIPS = {
    "v4": {"flops": 275e12, "hbm": 32, "bandwidth": 1228e9, "links": 300e9},
    "v5e": {"flops": 197e12, "hbm": 16, "bandwidth": 819e9, "links": 200e9},
    "v5p": {"flops": 459e12, "hbm": 95, "bandwidth": 2765e9, "links": 600e9},
}
# Their two TensorCores are one device, as JAX has it on a real v4 or v5p.
MEGACORE = ("v4", "v5p")
# Weights are gathered whole. The compiler would else send them around the ring
# of all devices, part by part, and write out each of the hundreds of steps.
COMPILER_OPTIONS = {
    "xla_tpu_enable_windowed_einsum_for_all_gather": False,
    "xla_tpu_enable_windowed_einsum_for_reduce_scatter": False,
}
PAPER_BATCH = 512
PAPER_STEPS = {"MuseBase": 1.5e6, "MuseSuperRes": 1e6}
PAPER_DAYS = {"muse_base_3b": 7}
MODELS = (
    "muse_base_632m",
    "muse_base_3b",
    "muse_super_res_268m",
    "muse_super_res",
)
ENVIRONMENT = pathlib.Path("~/.cache/keras_muse/tpu_compile").expanduser()


def main():
    options = parse_arguments()
    if pathlib.Path(sys.prefix).resolve() != options.environment.resolve():
        prepare_environment(options.environment)
        sys.exit(run_inside(options.environment))
    row = compile_row(options)
    title = f"{options.model}, {options.step}, {options.topology}"
    print_rows([row], options.json, title)
    sys.exit(0 if row["fits"] else 1)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="muse_base_632m", choices=MODELS)
    parser.add_argument(
        "--step", default="train", choices=("train", "generate")
    )
    parser.add_argument("--topology", default="v4:8x8x4")
    parser.add_argument(
        "--batch",
        type=int,
        help="pictures on all devices together; default: 512 to train, 16 or "
        "one a device to generate",
    )
    parser.add_argument("--text-length", type=int, default=128)
    parser.add_argument("--dtype", default="mixed_bfloat16")
    parser.add_argument("--model-parallel", type=int, default=1, metavar="N")
    parser.add_argument("--fully-sharded", action="store_true")
    parser.add_argument("--no-remat", action="store_true")
    parser.add_argument(
        "--environment",
        type=pathlib.Path,
        default=ENVIRONMENT,
        help="directory of the virtual environment with libtpu",
    )
    parser.add_argument("--hlo", type=pathlib.Path, help="write the program to")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not re.fullmatch(rf"({'|'.join(CHIPS)}):\d+(x\d+)+", options.topology):
        parser.error(
            f"--topology must be one of {', '.join(CHIPS)}, a colon and the "
            f"chips along each axis, as v5e:2x2. Received: {options.topology}"
        )
    return options


# === The environment of the compiler ===


def prepare_environment(environment):
    """Makes a virtual environment: the packages of this one, and libtpu.

    Elsewhere libtpu has no place: jax would look for a TPU in each process.
    """
    requirement = libtpu_requirement(importlib.metadata.requires("jax"))
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    link = f"# {requirement}\n" + "".join(
        f"import site; site.addsitedir({path!r})\n" for path in sorted(here)
    )
    version = "python{}.{}".format(*sys.version_info)
    link_file = environment / "lib" / version / "site-packages/keras_muse.pth"
    if link_file.exists() and link_file.read_text() == link:
        return
    print(f"Installing {requirement} in {environment}", file=sys.stderr)
    venv.create(environment, clear=True, with_pip=True)
    subprocess.run(
        [environment / "bin/python", "-m", "pip", "install", requirement],
        check=True,
        stdout=sys.stderr,
    )
    # Last, so that an environment that is not whole is made anew.
    link_file.write_text(link)


def libtpu_requirement(requirements):
    """What `pip install "jax[tpu]"` would ask for."""
    for requirement in requirements:
        name, _, condition = requirement.partition(";")
        if name.startswith("libtpu") and "tpu" in condition:
            return name.strip()
    raise ValueError(
        f"`requirements` name no libtpu. Received: requirements={requirements}"
    )


def run_inside(environment):
    """Runs this command again where libtpu is, and returns its status."""
    return subprocess.run(
        [environment / "bin/python", __file__, *sys.argv[1:]],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "TPU_SKIP_MDS_QUERY": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
    ).returncode


# === Compiling ===


def compile_row(options):
    import jax
    import keras
    import tpu_steps

    from keras_muse.training import model_parallel

    chip = CHIPS[options.topology.partition(":")[0]]
    keras.config.set_dtype_policy(options.dtype)
    model = tpu_steps.build_model(options.model, not options.no_remat)
    # Only now: no value, not even a seed's, can be put on these devices.
    distribution = model_parallel(
        options.model_parallel,
        options.fully_sharded,
        find_devices(options.topology),
    )
    batch = options.batch or (
        PAPER_BATCH
        if options.step == "train"
        else max(16, distribution.num_model_replicas)
    )
    parameters = sum(math.prod(w.shape) for w in model.trainable_variables)
    row = {
        "model": options.model,
        "millions": round(parameters / 1e6),
        "step": options.step,
        "topology": options.topology,
        "devices": distribution.device_mesh.devices.size,
        "model_parallel": options.model_parallel,
        "fully_sharded": options.fully_sharded,
        "batch": batch,
    }
    lowered = tpu_steps.lower_step(
        model, options.step, batch, options.text_length
    )
    start = time.perf_counter()
    try:
        compiled = lowered.compile(COMPILER_OPTIONS)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return {**row, "error": str(error).splitlines()[0], "fits": False}
    row["compile_seconds"] = round(time.perf_counter() - start)
    program = compiled.as_text()
    if options.hlo:
        options.hlo.write_text(program)
    row |= memory_figures(compiled.memory_analysis(), chip)
    row |= time_figures(
        compiled.cost_analysis(),
        hbm_bytes(program),
        collective_bytes(program),
        chip,
    )
    if options.step == "train":
        row["days_at_least"] = training_days(
            type(model).__name__, row["step_ms_at_least"] / 1e3, batch
        )
        if options.model in PAPER_DAYS:
            row["paper_days"] = PAPER_DAYS[options.model]
    row["fits"] = row["total_gib"] <= chip["hbm"]
    return row


def find_devices(topology):
    """The devices of a slice that is not there, in the order JAX has them."""
    from jax.experimental import topologies

    megacore = topology.partition(":")[0] in MEGACORE
    return topologies.get_topology_desc(
        topology,
        platform="tpu",
        chip_config_name="megacore" if megacore else "default",
    ).devices


# === What the compiler says ===


def memory_figures(memory, chip):
    """GiB of one device; a donated argument and its result share theirs."""
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    total = (
        memory.argument_size_in_bytes
        + results
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes
    )
    return {
        "arguments_gib": memory.argument_size_in_bytes / 2**30,
        "temporaries_gib": memory.temp_size_in_bytes / 2**30,
        "total_gib": total / 2**30,
        "hbm_gib": chip["hbm"],
    }


def time_figures(costs, hbm, collectives, chip):
    """Work of one device in a step, and the least time that it takes."""
    moved = sum(collectives.values())
    times = {
        "arithmetic": costs["flops"] / chip["flops"],
        "hbm": hbm / chip["bandwidth"],
        "links": moved / chip["links"],
    }
    bound_by = max(times, key=times.get)
    return {
        "tflop": costs["flops"] / 1e12,
        "accessed_gb": costs["bytes accessed"] / 1e9,
        "hbm_gb": hbm / 1e9,
        "collective_gb": moved / 1e9,
        **{
            f"{kind.replace('-', '_')}_gb": size / 1e9
            for kind, size in sorted(collectives.items())
        },
        **{f"{name}_ms": 1e3 * seconds for name, seconds in times.items()},
        "step_ms_at_least": 1e3 * times[bound_by],
        "bound_by": bound_by,
    }


def training_days(class_name, step_seconds, batch):
    """Days of the paper's training, in steps of another batch if need be."""
    steps = PAPER_STEPS[class_name] * PAPER_BATCH / batch
    return steps * step_seconds / 86400


if __name__ == "__main__":
    main()
