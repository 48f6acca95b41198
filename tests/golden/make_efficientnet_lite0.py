"""Makes `efficientnet_lite0.npz`: what PyTorch makes of the bundled weights.

    PYTHONPATH=.:$EFFICIENTNET python tests/golden/make_efficientnet_lite0.py

`$EFFICIENTNET` has the package `efficientnet_lite_pytorch` 0.1.0 of the same
authors as the weights: `pip install --no-deps efficientnet-lite-pytorch`.
"""

import pathlib

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load_file

from tests.helpers.golden_networks import noisy_pictures

ROOT = pathlib.Path(__file__).parents[2]
WEIGHTS = ROOT / "keras_muse/assets/efficientnet_lite0/weights.safetensors"
OUTPUT = pathlib.Path(__file__).parent / "efficientnet_lite0.npz"


def main():
    model = EfficientNet.from_name("efficientnet-lite0").eval()
    tensors = {name: t.float() for name, t in load_file(WEIGHTS).items()}
    state = {**model.state_dict(), **tensors}
    assert set(state) == set(model.state_dict())  # noqa: S101
    model.load_state_dict(state)
    images = torch.from_numpy(noisy_pictures(224, 224)).permute(0, 3, 1, 2)
    with torch.no_grad():
        features = model.extract_features((images.float() - 127) / 128)
        features = features.mean((2, 3))
        logits = model._fc(features)
    np.savez_compressed(
        OUTPUT, features=features.numpy(), logits=logits.numpy()
    )


if __name__ == "__main__":
    main()
