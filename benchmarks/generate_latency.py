"""Time to generate the tokens of pictures, here and elsewhere.

Text embeddings in, image tokens out: 24 steps with guidance in each, no
language model and no decoder. Each implementation runs in a process of its
own, all in one run on one machine. Beside each time stands that of the bare
matrix products of our transformer, in the same process, on the same backend
and in the same precision.

    python benchmarks/generate_latency.py
    python benchmarks/generate_latency.py --json --batch 1 --steps 24
    python benchmarks/generate_latency.py --model muse_base_3b --no-peers

`seconds` is the median of `--repeats` generations, after a short one that
compiles.
`ratio_to_matmul` is the rate of useful arithmetic (matrix products and
attention) over that of the bare products. `ratio_to_peer` is the time of
muse-maskgit-pytorch in float32 over this time: how many times as fast. Peers
need `pip install -e ".[bench]"`.
"""

import argparse
import json
import statistics
import sys
import time

from table import print_rows
from worker import run_worker

OURS = (
    ("keras_muse jax", "float32"),
    ("keras_muse jax", "bfloat16"),
    ("keras_muse tensorflow", "float32"),
    ("keras_muse tensorflow", "bfloat16"),
    ("keras_muse torch", "float32"),
    ("keras_muse torch", "bfloat16"),
)
PEERS = (
    ("muse-maskgit-pytorch", "float32"),
    ("muse-maskgit-pytorch", "bfloat16"),
    ("diffusers", "float32"),
    ("diffusers", "bfloat16"),
)
PEER = ("muse-maskgit-pytorch", "float32")
SMALL = {  # of a size that a processor can bear
    "codebook_size": 8192,
    "grid_size": (16, 16),
    "text_dim": 1024,
    "num_layers": 12,
    "hidden_dim": 768,
    "num_heads": 12,
    "intermediate_dim": 3072,
}
TEXT_LENGTH = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small", help="or a preset's name")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backends", nargs="+", help="default: all three")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        for row in work(options, *options.worker):
            print(json.dumps(row), flush=True)
        return
    peers = PEERS if options.model == "small" and not options.no_peers else ()
    ours = [
        run
        for run in OURS
        if not options.backends or run[0].split()[1] in options.backends
    ]
    rows = [row for run in (*ours, *peers) for row in start(*run)]
    add_peer_ratios(rows)
    title = f"Tokens of {options.model}, {options.steps} steps"
    print_rows(rows, options.json, title)


def start(name, dtype):
    """Rows of one implementation, from a process of its own."""
    backend = name.removeprefix("keras_muse ") if "keras" in name else None
    arguments = [*sys.argv[1:], "--worker", name, dtype]
    rows, error = run_worker(__file__, arguments, backend)
    if error:
        rows.append({"name": name, "dtype": dtype, "error": error})
    return rows


def add_peer_ratios(rows):
    peer = {
        row["batch"]: row["seconds"]
        for row in rows
        if (row["name"], row["dtype"]) == PEER and "seconds" in row
    }
    for row in rows:
        if row.get("batch") in peer:
            row["ratio_to_peer"] = peer[row["batch"]] / row["seconds"]


def work(options, name, dtype):
    makers = {"muse-maskgit-pytorch": make_lucidrains, "diffusers": make_uvit}
    if name in makers:
        for batch in options.batch:
            generate = makers[name](dtype, batch)
            seconds, _ = measure(generate, lambda: None, options)
            yield {"name": name, "dtype": dtype, "batch": batch, **seconds}
        return
    for batch in options.batch:
        row = ours(options, dtype, batch)
        yield {"name": name, "dtype": dtype, "batch": batch, **row}


def measure(generate, products, options):
    """Median seconds of both, in turns, after a short run that compiles."""
    generate(2)
    products()
    times = [[], []]
    for _ in range(options.repeats):
        begin = time.perf_counter()
        generate(options.steps)
        middle = time.perf_counter()
        products()
        times[0].append(middle - begin)
        times[1].append(time.perf_counter() - middle)
    seconds, product_seconds = map(statistics.median, times)
    return {"seconds": seconds}, product_seconds


# === This package ===


def ours(options, dtype, batch):
    import keras
    import numpy as np

    import keras_muse

    keras.config.set_dtype_policy(dtype)
    if options.model == "small":
        base = keras_muse.MuseBase(**SMALL)
    else:
        base = keras_muse.MuseBase.from_preset(
            options.model, load_weights=False
        )
    shape = (batch, TEXT_LENGTH, base.text_dim)
    text = np.random.default_rng(0).standard_normal(shape).astype("float32")
    mask = np.ones(shape[:2], bool)
    # All steps are guided, as the peers' are.
    sampler = keras_muse.ConfidenceSampler(guidance_schedule="constant")

    def generate(num_steps):
        base.generate(
            text,
            mask,
            num_steps=num_steps,
            seed=0,
            sampler=sampler,
            verbose=0,
        )

    products, product_flops = matrix_products(base, batch)
    seconds, product_seconds = measure(generate, products, options)
    flops = options.steps * (product_flops + attention_flops(base, batch))
    rate = flops / seconds["seconds"]
    matmul_rate = product_flops / product_seconds
    return {
        **seconds,
        "gflops": rate / 1e9,
        "matmul_gflops": matmul_rate / 1e9,
        "ratio_to_matmul": rate / matmul_rate,
    }


def matrix_products(base, batch):
    """The products of one guided step with nothing between, and their FLOPs."""
    import keras
    import numpy as np
    from keras import ops

    from keras_muse.runtime.compiled import compile_function

    d, m = base.hidden_dim, base.intermediate_dim
    # Self-attention has four products, attention to the text two.
    layer = [(d, d)] * 6 + [(d, m), (m, d)]
    shapes = [*layer * base.num_layers, (d, d)]
    head = (d, base.codebook_size)  # guidance has halved the rows before it
    dtype = keras.config.dtype_policy().compute_dtype
    rng = np.random.default_rng(0)
    weights = [
        ops.cast(rng.standard_normal(s, "float32") / s[0] ** 0.5, dtype)
        for s in (*shapes, head)
    ]
    rows = 2 * batch * base.num_tokens
    x = ops.cast(rng.standard_normal((rows, d), "float32"), dtype)

    def chain(x, weights):
        for weight in weights[:-1]:
            x = ops.matmul(x, weight)
        x = ops.matmul(x[: rows // 2], weights[-1])
        return ops.sum(ops.cast(x, "float32"))

    compiled = compile_function(base, chain)
    flops = 2 * rows * sum(a * b for a, b in shapes) + rows * d * head[1]
    return lambda: ops.convert_to_numpy(compiled(x, weights)), flops


def attention_flops(base, batch):
    """Scores and sums of one guided step."""
    keys = base.num_tokens + TEXT_LENGTH
    queries = 2 * batch * base.num_tokens
    return base.num_layers * 2 * 2 * queries * keys * base.hidden_dim


# === Others ===


def make_lucidrains(dtype, batch):
    """muse-maskgit-pytorch: MaskGit.generate as it stands, without a VAE."""
    import torch
    import transformers
    from muse_maskgit_pytorch import MaskGit
    from muse_maskgit_pytorch import MaskGitTransformer
    from muse_maskgit_pytorch import VQGanVAE
    from muse_maskgit_pytorch import t5

    name = "text of width 1024"
    config = transformers.T5Config(d_model=SMALL["text_dim"])
    t5.T5_CONFIGS[name] = {"config": config}
    transformer = MaskGitTransformer(
        num_tokens=SMALL["codebook_size"],
        seq_len=256,
        dim=SMALL["hidden_dim"],
        depth=SMALL["num_layers"],
        heads=SMALL["num_heads"],
        dim_head=64,
        ff_mult=4,
        t5_name=name,
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    text = torch.randn(batch, TEXT_LENGTH, SMALL["text_dim"])
    text = text.to(device)
    transformer.encode_text = lambda texts: text

    class NoTokenizer(VQGanVAE):
        codebook_size = SMALL["codebook_size"]

        def __init__(self):
            torch.nn.Module.__init__(self)

        def copy_for_eval(self):
            return self

        def get_encoded_fmap_size(self, image_size):
            return 16

        def decode_from_ids(self, ids):
            return ids

    model = MaskGit(
        image_size=256, transformer=transformer, vae=NoTokenizer()
    ).to(device)
    # Cast to bfloat16 as a whole it does not run.
    cast = torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16")

    def generate(num_steps):
        with cast:
            ids = model.generate(
                ["a text"] * batch, timesteps=num_steps, cond_scale=3.0
            )
        return ids.cpu()

    return generate


def make_uvit(dtype, batch):
    """diffusers: UVit2DModel in the loop of its aMUSEd pipeline."""
    import torch
    from diffusers import AmusedScheduler
    from diffusers import UVit2DModel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = {"device": device, "dtype": getattr(torch, dtype)}
    model = UVit2DModel(
        hidden_size=SMALL["hidden_dim"],
        encoder_hidden_size=SMALL["text_dim"],
        vocab_size=SMALL["codebook_size"] + 1,
        codebook_size=SMALL["codebook_size"],
        num_hidden_layers=SMALL["num_layers"],
        num_attention_heads=SMALL["num_heads"],
        # Gated: three matrices with as many weights as two of 3072.
        intermediate_size=SMALL["intermediate_dim"] * 2 // 3,
        sample_size=16,
    )
    model = model.to(**options).eval()
    scheduler = AmusedScheduler(mask_token_id=SMALL["codebook_size"])
    text = torch.randn(2 * batch, TEXT_LENGTH, SMALL["text_dim"], **options)
    pooled = torch.randn(2 * batch, 768, **options)
    conditions = torch.tensor([[256, 256, 0, 0, 6]], **options)
    conditions = conditions.expand(2 * batch, -1)

    @torch.no_grad()
    def generate(num_steps):
        ids = torch.full((batch, 16, 16), SMALL["codebook_size"], device=device)
        scheduler.set_timesteps(num_steps, device=device)
        for timestep in scheduler.timesteps:
            logits = model(torch.cat([ids] * 2), text, pooled, conditions)
            without, with_text = logits.chunk(2)
            logits = without + 3.0 * (with_text - without)
            ids = scheduler.step(logits, timestep, ids).prev_sample
        return ids.cpu()

    return generate


if __name__ == "__main__":
    main()
