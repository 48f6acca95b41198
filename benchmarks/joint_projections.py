"""Whether query, key and value should be one product in generation.

Times the three projections of self-attention as three products and as one
with joined weights, on each backend, for one and four guided pictures of 256
tokens. LoRA and quantization need the three apart, so joining must pay.

    python benchmarks/joint_projections.py
    python benchmarks/joint_projections.py --json
"""

import argparse
import json
import statistics
import time

from table import print_rows
from worker import run_worker

RUNS = (
    ("jax", "float32"),
    ("tensorflow", "float32"),
    ("tensorflow", "bfloat16"),
    ("torch", "float32"),
    ("torch", "bfloat16"),
)
HIDDEN_DIM, TOKENS, REPEATS = 768, 256, 60


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        for row in work(options.worker):
            print(json.dumps(row))
        return
    rows = []
    for backend, dtype in RUNS:
        found, error = run_worker(__file__, ["--worker", dtype], backend)
        found = found or [{"error": error}]
        rows += [{"backend": backend, "dtype": dtype, **row} for row in found]
    print_rows(rows, options.json, "Milliseconds for query, key and value")


def work(dtype):
    import keras
    import numpy as np
    from keras import ops

    from keras_muse.runtime.compiled import compile_function

    rng = np.random.default_rng(0)

    def normal(*shape):
        return ops.cast(rng.standard_normal(shape, "float32"), dtype)

    weights = [normal(HIDDEN_DIM, HIDDEN_DIM) for _ in range(3)]
    joined = ops.concatenate(weights, axis=1)

    def three(x, weights):
        return [ops.matmul(x, weight) for weight in weights]

    def one(x, joined):
        return ops.split(ops.matmul(x, joined), 3, axis=1)

    model = keras.Model()  # holds no weights
    three, one = compile_function(model, three), compile_function(model, one)
    for batch in (1, 4):
        x = normal(2 * batch * TOKENS, HIDDEN_DIM)
        apart, together = in_turns(
            lambda x=x: three(x, weights), lambda x=x: one(x, joined)
        )
        yield {
            "batch": batch,
            "three_products": apart,
            "one_product": together,
            "ratio": apart / together,
        }


def in_turns(*functions):
    """Median milliseconds of each function."""
    from keras import ops

    times = [[] for _ in functions]
    for _ in range(REPEATS):
        for function, seconds in zip(functions, times, strict=True):
            begin = time.perf_counter()
            for output in function():
                ops.convert_to_numpy(output[:1])
            seconds.append(time.perf_counter() - begin)
    return [1e3 * statistics.median(seconds[5:]) for seconds in times]


if __name__ == "__main__":
    main()
