"""Makes `fid_inception.npz`: torch-fidelity's Inception on random weights.

    PYTHONPATH=.:$TORCH_FIDELITY python tests/golden/make_fid_inception.py

`$TORCH_FIDELITY` has the package `torch_fidelity` 0.4.0, which imports
torchvision for its other networks.
"""

import json
import os
import pathlib
import tempfile

import numpy as np
import torch
from torch_fidelity.feature_extractor_inceptionv3 import (
    FeatureExtractorInceptionV3,
)

from tests.helpers.golden_networks import noisy_pictures
from tests.helpers.random_tensors import random_tensors

OUTPUT = pathlib.Path(__file__).parent / "fid_inception.npz"
SIZES = [(299, 299), (64, 48), (320, 400)]


class Published(FeatureExtractorInceptionV3):
    """The network before any weights are loaded, to ask for its shapes."""

    def load_state_dict(self, tensors):
        self.shapes = {
            name: list(tensor.shape)
            for name, tensor in self.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        tensors = random_tensors(self.shapes)
        return super().load_state_dict(
            {name: torch.from_numpy(t) for name, t in tensors.items()},
            strict=False,
        )


def main():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "none.pth")
        torch.save({}, path)
        model = Published(
            "inception",
            ["2048", "logits_unbiased"],
            feature_extractor_weights_path=path,
        )
    golden = {"shapes": json.dumps(model.shapes)}
    for height, width in SIZES:
        images = torch.from_numpy(noisy_pictures(height, width))
        with torch.no_grad():
            features, logits = model(images.permute(0, 3, 1, 2))
        golden[f"{height}x{width}/features"] = features.numpy()
        golden[f"{height}x{width}/logits"] = logits.numpy()
    np.savez_compressed(OUTPUT, **golden)


if __name__ == "__main__":
    main()
