"""Which files hold the weights of what others have published.

Hugging Face's libraries write `model.safetensors`, or `pytorch_model.bin`
before it; both may be cut into shards that an index names, and may come in a
variant, as `model.fp16.safetensors`.
"""

import os

from keras_muse.files import hub
from keras_muse.files.torch_files import TorchWeightFiles
from keras_muse.files.weight_files import KerasWeightsFiles
from keras_muse.files.weight_files import SafetensorsFiles

# The stems of `transformers`, and of `diffusers`.
TRANSFORMERS = (
    hub.SAFETENSORS_FILE.removesuffix(".safetensors"),
    "pytorch_model",
)
DIFFUSERS = "diffusion_pytorch_model", "diffusion_pytorch_model"
# The whole precision first.
VARIANTS = "", ".fp32", ".bf16", ".fp16", ".non_ema"


def open_weights(preset, folder="", stems=TRANSFORMERS):
    """Opens the safetensors of a preset, or `.bin` where it has none.

    Args:
        preset: string. A directory, a handle or a name that KerasHub knows.
        folder: string. Where in the preset they are. Defaults to its root.
        stems: pair of strings. How names of safetensors begin, and those of
            pickles. Defaults to those of `transformers`.

    Returns:
        `NamedTensors`.

    Raises:
        ValueError: if there are none, or an index is damaged.
    """
    safe, pickled = stems
    kinds = [
        (SafetensorsFiles, safe, "safetensors"),
        (TorchWeightFiles, pickled, "bin"),
    ]
    for files, stem, ending in kinds:
        for variant in VARIANTS:
            names = (
                f"{stem}{variant}.{ending}",
                f"{stem}.{ending}.index{variant}.json",
            )
            if file := _first(preset, folder, names):
                return files(preset, file)
    raise ValueError(
        f"`preset` has neither `{os.path.join(folder, safe)}.safetensors` nor "
        f"`{os.path.join(folder, pickled)}.bin`, whole or in shards, nor a "
        f"variant of them. Received: preset={preset!r}"
    )


def open_keras_weights(preset, folder=""):
    """Opens the weights of a preset of KerasHub.

    Args:
        preset, folder: as in `open_weights`.
    """
    names = hub.WEIGHTS_FILE, hub.WEIGHTS_INDEX_FILE
    if file := _first(preset, folder, names):
        return KerasWeightsFiles(preset, file)
    raise ValueError(
        f"`preset` has neither {' nor '.join(f'`{name}`' for name in names)}. "
        f"Received: preset={preset!r}"
    )


def _first(preset, folder, names):
    for name in names:
        file = os.path.join(folder, name)
        if hub.has_file(preset, file):
            return file
    return None
