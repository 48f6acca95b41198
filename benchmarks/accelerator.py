"""One benchmark for accelerators: how fast the paper's models are on one.

Latency of generation and utilization of the training step, with attention of
plain operations and with a fused kernel, at random weights and on random
data. One device is used, whichever Keras takes by default; `KERAS_BACKEND`
is `jax` if not set. Each row is printed as soon as it is there, those of most
worth first, so that a run which is cut short has told the most.

    python benchmarks/accelerator.py
    python benchmarks/accelerator.py --json --minutes 10
    python benchmarks/accelerator.py --rows train_632m --attention plain fused
    python benchmarks/accelerator.py --toy

What the rows are (`what`):

- `matmul`: products of square matrices, which the others are held against.
- `generate`: text embeddings to 16 x 16 tokens in 24 guided steps.
- `cascade`: the same, then 64 x 64 tokens in 8 guided steps of the
  super-resolution model, then the decoder: text embeddings to 512 px.
- `train`: a step of `fit` with the default optimizer.
- `train_tokenizer`: a step of `fit` at 256 px, on the loss of reconstruction
  alone: no critic, no perceptual network.

`seconds` is the median of five generations, products or steps (of a step: of
five `fit`s of ten steps each), after a first call that compiles, whose seconds
are `first_call`. `tflops` is the rate of useful arithmetic (`flops.py`) in
TFLOP/s, `ratio_to_matmul` that rate over that of `matmul`: the utilization.
`peak_gib` is given where the device tells it and the row took more memory than
all before it. A training that finds no room is tried with half of the batch.
What could not be measured has the reason in `error`.
"""

import argparse
import itertools
import math
import os
import time
from typing import NamedTuple

from table import print_row


class Job(NamedTuple):
    """What is measured in a row; `name` is what `--rows` chooses it by."""

    name: str
    what: str
    model: str
    batch: int
    dtype: str


def generate(name, model, batch, what="generate"):
    return Job(name, what, model, batch, "bfloat16")


def train(name, model, batch, what="train"):
    return Job(name, what, model, batch, "mixed_bfloat16")


MATMUL = Job("matmul", "matmul", None, None, "bfloat16")
CASCADE = "632m + 268m + f8"
# Groups in the order of their worth; in each, all jobs with one attention come
# before all jobs with the other.
TRANSFORMERS = (
    (
        generate("generate_632m", "muse_base_632m", 1),
        train("train_632m", "muse_base_632m", 64),
        generate("generate_3b", "muse_base_3b", 1),
        train("train_3b", "muse_base_3b", 32),
    ),
    (
        generate("generate_632m_8", "muse_base_632m", 8),
        generate("generate_3b_8", "muse_base_3b", 8),
    ),
    (
        generate("cascade", CASCADE, 1, "cascade"),
        generate("cascade_8", CASCADE, 8, "cascade"),
    ),
)
TOKENIZERS = (
    train("train_f16", "vqgan_f16", 16, "train_tokenizer"),
    train("train_f8", "vqgan_f8", 16, "train_tokenizer"),
)
ROWS = [job.name for job in (*itertools.chain(*TRANSFORMERS), *TOKENIZERS)]
ATTENTIONS = ("fused", "plain")
WIDTHS = {
    "what": 15,
    "model": 16,
    "batch": 5,
    "attention": 9,
    "dtype": 14,
    "seconds": 9,
    "first_call": 10,
    "tflops": 9,
    "ratio_to_matmul": 15,
    "peak_gib": 8,
    "skipped": 7,
    "error": 5,
}


def main(arguments=None):
    start = time.monotonic()
    options = parse_arguments(arguments)
    os.environ.setdefault("KERAS_BACKEND", "jax")
    # JAX keeps a quarter of a GPU free for others, who are not there.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
    import accelerator_rows

    print_device(accelerator_rows.device_row(), options.json)
    matmul_rate = None
    for job, attention in schedule(options.rows, options.attention):
        row = describe(job, attention)
        if time.monotonic() - start >= 60 * options.minutes:
            row["skipped"] = "no time"
        else:
            row |= accelerator_rows.measure(job, attention, options.toy)
        if job is MATMUL:
            matmul_rate = row.get("tflops")
        elif matmul_rate and "tflops" in row:
            row["ratio_to_matmul"] = row["tflops"] / matmul_rate
        print_row(row, options.json, WIDTHS)


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rows",
        nargs="+",
        choices=ROWS,
        default=ROWS,
        metavar="ROW",
        help=f"beside matmul; default: all of {', '.join(ROWS)}",
    )
    parser.add_argument(
        "--attention", nargs="+", choices=ATTENTIONS, default=ATTENTIONS
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="start no row after so many; default: no limit",
    )
    parser.add_argument(
        "--toy", action="store_true", help="models that a processor can bear"
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def schedule(names, attentions):
    """Pairs of a job and its attention, `None` where it has none."""
    yield MATMUL, None
    for group in TRANSFORMERS:
        for attention, job in itertools.product(attentions, group):
            if job.name in names:
                yield job, attention
    for job in TOKENIZERS:
        if job.name in names:
            yield job, None


def describe(job, attention):
    row = {
        "what": job.what,
        "model": job.model,
        "batch": job.batch,
        "attention": attention,
        "dtype": job.dtype,
    }
    return {name: value for name, value in row.items() if value is not None}


def print_device(row, as_json):
    """The first row, which has keys of its own, and the table's head."""
    print_row(row, as_json, dict.fromkeys(row, 0))
    if not as_json:
        print_row(dict(zip(WIDTHS, WIDTHS, strict=True)), False, WIDTHS)


if __name__ == "__main__":
    main()
