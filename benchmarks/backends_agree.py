"""Whether JAX, TensorFlow and Torch make the same of the same weights.

A Muse goes from backend to backend: each loads what the one before it saved,
and saves it anew. In each, float32 outputs on the same inputs are compared
with the first backend's (largest absolute difference), and the tokens
generated from the same seeds must be identical.

    python benchmarks/backends_agree.py                 # random weights
    python benchmarks/backends_agree.py out/preset      # a trained Muse
    python benchmarks/backends_agree.py --json
"""

import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
from table import print_rows

BACKENDS = ("jax", "tensorflow", "torch", "jax")
PROMPTS = ["a red apple", "a sleeping cat", "a blue car at night"]
RANDOM_MUSE = {
    "codebook_size": 256,
    "text_dim": 384,
    "num_layers": 4,
    "hidden_dim": 128,
    "num_heads": 4,
    "intermediate_dim": 512,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", help="default: random weights")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.preset, *options.worker)
        return
    with tempfile.TemporaryDirectory() as directory:
        results = list(run_all(options.preset, directory))
    rows = []
    for backend, loaded_from, outputs in results[1:]:
        rows += compare(backend, loaded_from, results[0][2], outputs)
    print_rows(rows, options.json, f"Compared with {BACKENDS[0]}")


def run_all(preset, directory):
    """Hands the preset through the backends, each in a process of its own."""
    loaded_from = "the start"
    for number, backend in enumerate(BACKENDS):
        output = os.path.join(directory, f"{number}.npz")
        saved = os.path.join(directory, f"preset_{number}")
        command = [sys.executable, os.path.abspath(__file__)]
        command += [preset] if preset else []
        subprocess.run(
            [*command, "--worker", output, saved],
            env={**os.environ, "KERAS_BACKEND": backend},
            stdout=sys.stderr,
            check=True,
        )
        with np.load(output) as outputs:
            yield backend, loaded_from, dict(outputs)
        preset, loaded_from = saved, backend


def compare(backend, loaded_from, first, outputs):
    for name, value in outputs.items():
        row = {
            "backend": backend,
            "saved_by": loaded_from,
            "output": name,
            "shape": "x".join(map(str, value.shape)),
        }
        if value.dtype.kind == "f":
            row["max_difference"] = float(np.abs(value - first[name]).max())
            row["largest_value"] = float(np.abs(first[name]).max())
        else:
            row["identical"] = bool(np.array_equal(value, first[name]))
        yield row


# === In the process of one backend ===


def work(preset, output, saved):
    import keras_muse

    muse = keras_muse.Muse.from_preset(preset) if preset else random_muse()
    np.savez(output, **outputs_of(muse))
    muse.save_to_preset(saved)


def random_muse():
    import keras

    import keras_muse

    keras.utils.set_random_seed(0)
    tokenizer = keras_muse.VQGANTokenizer(
        base_channels=32,
        channel_multipliers=(1, 2, 4),
        num_res_blocks=1,
        codebook_size=RANDOM_MUSE["codebook_size"],
        codebook_dim=16,
    )
    base = keras_muse.MuseBase(grid_size=(8, 8), **RANDOM_MUSE)
    super_res = keras_muse.MuseSuperRes(
        low_res_codebook_size=RANDOM_MUSE["codebook_size"],
        grid_size=(16, 16),
        low_res_grid_size=(8, 8),
        low_res_num_layers=1,
        block_size=4,
        **RANDOM_MUSE,
    )
    # Untrained weights are next to zero, and so would all logits be.
    generator = np.random.default_rng(0)
    for model in (base, super_res):
        for weight in model.trainable_variables:
            noise = 0.1 * generator.standard_normal(weight.shape)
            weight.assign(keras.ops.convert_to_numpy(weight) + noise)
    encoder = keras_muse.MiniLMTextEncoder.from_preset("all_minilm_l6_v2")
    return keras_muse.Muse(encoder, base, tokenizer, super_res)


def outputs_of(muse):
    """Outputs of each part on inputs that are the same everywhere."""
    import keras

    generator = np.random.default_rng(0)
    tokenizer, base, super_res = muse.image_tokenizer, muse.base, muse.super_res
    height, width = base.grid_size
    factor = tokenizer.downsampling_factor
    images = generator.uniform(-1, 1, (3, height * factor, width * factor, 3))
    embeddings, mask = muse.text_encoder.encode(PROMPTS)
    low = generator.integers(0, base.codebook_size + 1, (3, height, width))
    inputs = {
        "token_ids": low.astype("int32"),
        "text_embeddings": embeddings,
        "text_mask": mask,
    }
    outputs = {
        "text_embeddings": embeddings,
        "tokenizer_latents": tokenizer.encoder(images.astype("float32")),
        "tokenizer_pixels": tokenizer.decode(low % base.codebook_size),
        "base_logits": base(inputs),
    }
    if super_res is not None:
        shape = (3, *super_res.grid_size)
        high = generator.integers(0, super_res.codebook_size + 1, shape)
        outputs["super_res_logits"] = super_res(
            {
                **inputs,
                "token_ids": high.astype("int32"),
                "low_res_token_ids": inputs["token_ids"] % base.codebook_size,
            }
        )
    tokens = {}

    def keep(stage, step, start, token_ids):
        tokens[f"{stage}_tokens"] = token_ids

    muse.generate(PROMPTS, seed=0, callback=keep, verbose=0)
    outputs = keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)
    return {**outputs, **tokens}


if __name__ == "__main__":
    main()
