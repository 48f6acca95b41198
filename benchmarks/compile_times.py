"""How long JAX compiles what draws noise, and a training step around it.

Each program is compiled in a process of its own, which is stopped after
`--limit` seconds: with Threefry's rounds written out, as they were before,
newer releases of XLA do not come to an end.

    python benchmarks/compile_times.py
"""

import argparse
import json
import os
import subprocess
import sys
import time

from table import print_row

PROGRAMS = (
    "seeds",
    "uniform",
    "random_mask",
    "random_mask of drawn seeds",
    "code_uniform of drawn seeds",
    "training step",
)
THREEFRY = ("unrolled", "primitive")
WIDTHS = {"jax": 9, "program": 28, "threefry": 9, "seconds": 8}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=60, help="seconds (60)")
    parser.add_argument("--programs", nargs="+", default=PROGRAMS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if options.worker:
        print(json.dumps(work(*options.worker)), flush=True)
        return
    if not options.json:
        print("  ".join(map(str.ljust, WIDTHS, WIDTHS.values())))
    for program in options.programs:
        for threefry in THREEFRY:
            row = start(program, threefry, options.limit)
            print_row(row, options.json, WIDTHS)


def start(program, threefry, limit):
    """A row, from a process of its own."""
    command = [sys.executable, __file__, "--worker", program, threefry]
    row = {"jax": jax_version(), "program": program, "threefry": threefry}
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, check=True
        )
    except subprocess.TimeoutExpired:
        return {**row, "seconds": f"> {limit:g}"}
    return {**row, "seconds": json.loads(result.stdout.splitlines()[-1])}


def jax_version():
    from importlib import metadata

    return metadata.version("jax")


def work(program, threefry):
    """Seconds to trace and compile a program."""
    import jax
    import numpy as np

    from keras_muse.ops import noise

    if threefry == "unrolled":
        noise.threefry = noise.unrolled_threefry
    if program == "training step":
        return fit_once()
    rows = np.arange(16, dtype="int32")
    begin = time.perf_counter()
    jax.jit(noise_programs()[program]).lower(rows).compile()
    return round(time.perf_counter() - begin, 2)


def noise_programs():
    from keras_muse.ops import masking
    from keras_muse.ops import noise

    def seeds(rows):
        return noise.threefry((rows[0], rows[1]), (rows, 0))[0]

    def mask(seeds):
        return masking.random_mask(
            noise.uniform(seeds, noise.MASK_RATIO_STREAM),
            noise.uniform(seeds, noise.MASK_ORDER_STREAM, num_positions=16),
        )

    def codes(seeds):
        return noise.code_uniform(seeds, noise.TOKEN_STREAM, 0, 16, 64)

    return {
        "seeds": seeds,
        "uniform": lambda rows: noise.uniform(rows, noise.TOKEN_STREAM),
        "random_mask": mask,
        "random_mask of drawn seeds": lambda rows: mask(seeds(rows)),
        "code_uniform of drawn seeds": lambda rows: codes(seeds(rows)),
    }


def fit_once():
    """The first step of `fit` of a small base, which compiles it."""
    import numpy as np

    import keras_muse

    base = keras_muse.MuseBase(
        codebook_size=64,
        grid_size=(4, 4),
        text_dim=384,
        num_layers=2,
        hidden_dim=32,
        num_heads=2,
        intermediate_dim=64,
    )
    base.compile()
    rng = np.random.default_rng(0)
    data = {
        "token_ids": rng.integers(0, 64, (16, 16)),
        "text_embeddings": rng.standard_normal((16, 5, 384)),
        "text_mask": np.ones((16, 5), bool),
    }
    begin = time.perf_counter()
    base.fit(data, batch_size=16, verbose=0)
    return round(time.perf_counter() - begin, 2)


if __name__ == "__main__":
    main()
