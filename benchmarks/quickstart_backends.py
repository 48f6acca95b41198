"""Training speed of the quick start's models on each backend.

Times a training step of the tokenizer, the base and the super-resolution
model, at the sizes of `keras-muse quickstart`, on random data, one process a
backend, precision and size of memory pages (huge ones are what the command
line asks for). The ratio is to JAX in float32 with small pages, in the same
run.

    python benchmarks/quickstart_backends.py
    python benchmarks/quickstart_backends.py --json
"""

import argparse
import json
import time

from table import print_rows
from worker import run_worker

from keras_muse.runtime import huge_pages

RUNS = (
    ("jax", "float32", "small"),
    ("jax", "float32", "huge"),
    ("tensorflow", "float32", "small"),
    ("tensorflow", "float32", "huge"),
    ("torch", "float32", "small"),
    ("torch", "mixed_bfloat16", "small"),
)
STEPS = 12


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(step_seconds(options.worker)))
        return
    rows = [run(*one) for one in RUNS]
    for row in rows:
        for model in ("tokenizer", "base", "super_res"):
            row[f"{model}_ratio"] = row[model] / rows[0][model]
    print_rows(rows, options.json, "Seconds a training step")


def run(backend, dtype, pages):
    setting = huge_pages.SETTING if pages == "huge" else ""
    variables = {huge_pages.VARIABLE: setting}
    worker = ["--worker", dtype]
    rows, error = run_worker(__file__, worker, backend, **variables)
    if error:
        raise RuntimeError(f"{backend}, {dtype}: {error}")
    return {"backend": backend, "dtype": dtype, "pages": pages, **rows[0]}


def step_seconds(dtype):
    import keras
    import numpy as np

    import keras_muse
    from keras_muse.recipes import quickstart
    from keras_muse.recipes import stages

    keras.config.set_dtype_policy(dtype)
    rng = np.random.default_rng(0)
    tokenizer = keras_muse.VQGANTokenizer.from_preset(
        "vqgan_f4_tiny", load_weights=False
    )
    stages.compile_tokenizer(tokenizer, quickstart.SMALL)
    base = keras_muse.MuseBase.from_preset("muse_base_tiny", load_weights=False)
    super_res = keras_muse.MuseSuperRes.from_preset(
        "muse_super_res_tiny", load_weights=False
    )
    for model in (base, super_res):
        stages.compile_transformer(model)
    num_codes = base.codebook_size

    def text(batch):
        shape = (batch, 32, base.text_dim)
        return {
            "text_embeddings": rng.normal(size=shape).astype("float32"),
            "text_mask": np.ones(shape[:2], "bool"),
        }

    size = quickstart.SMALL
    images = (stages.tokenizer_batch_size(size), size, size, 3)
    base_batch = stages.transformer_batch_size(base.num_tokens, 1000)
    fine_batch = stages.transformer_batch_size(super_res.num_tokens, 1000)
    batches = {
        "tokenizer": (tokenizer, rng.integers(0, 256, images, "uint8")),
        "base": (
            base,
            {
                "token_ids": rng.integers(0, num_codes, (base_batch, 64)),
                **text(base_batch),
            },
        ),
        "super_res": (
            super_res,
            {
                "token_ids": rng.integers(0, num_codes, (fine_batch, 256)),
                "low_res_token_ids": rng.integers(
                    0, num_codes, (fine_batch, 64)
                ),
                **text(fine_batch),
            },
        ),
    }
    return {
        name: seconds_a_step(model, batch)
        for name, (model, batch) in batches.items()
    }


def seconds_a_step(model, batch):
    """Median over some steps, after one that compiles."""
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        model.train_on_batch(batch)
        seconds.append(time.perf_counter() - start)
    return sorted(seconds[1:])[len(seconds) // 2]


if __name__ == "__main__":
    main()
