"""The tokenizers of MaskGIT, `tokenizer_imagenet256_checkpoint` and 512.

Each is one file of Flax without a configuration, which is read from its
tensors. Names and shapes are those of the published file, and of the
`maskgit/nets/vqgan_tokenizer.py` that it was trained with; pixels are in
[0, 1].
"""

import glob
import os

import keras
import numpy as np

from keras_muse.converters.vqgan_layers import check_settings
from keras_muse.files.damage import reading
from keras_muse.files.flax_files import FlaxFiles
from keras_muse.files.tensors import load_layers
from keras_muse.layers.resnet_block import ResnetBlock

_NUM_RES_BLOCKS = 2  # a level, and in the middle


class MaskGITFiles(FlaxFiles):
    """A checkpoint in which each residual block has a residual.

    Where a block changes the number of channels, MaskGIT's adds to its output
    `y` not its input, but `y` again through a 1 x 1 convolution `W`. That is
    `(1 + W) y`, so `W` joins the convolution that gives `y`.
    """

    def names(self):
        """Names of all tensors, a set."""
        return {n for n in super().names() if not _is_shortcut(n)}

    def read(self, name, only_floats=False):
        """One tensor as a float32 numpy array."""
        tensor = super().read(name, only_floats)
        block, _, rest = name.rpartition(".Conv_1.")
        shortcut = f"{block}.Conv_2.{rest}"
        if _is_shortcut(shortcut) and shortcut in super().names():
            matrix = super().read(shortcut, only_floats)[0, 0]
            tensor = tensor + tensor @ matrix
        return tensor


def _is_shortcut(name):
    return ".ResBlock_" in name and name.endswith(".Conv_2.kernel")


def read_config(preset):
    """The configuration that the tensors of a file imply, or `None`.

    Args:
        preset: string. The path of the file, or of a directory with one
            `tokenizer_*_checkpoint`.
    """
    path = _checkpoint_file(preset)
    if path is None:
        return None
    with reading(path), MaskGITFiles(path) as files:
        num_blocks = sum(
            name.startswith("encoder.ResBlock_")
            and name.endswith(".Conv_0.kernel")
            for name in files.names()
        )
        base_channels = files.read("encoder.Conv_0.kernel").shape[-1]
        channels = [
            files.read(f"encoder.ResBlock_{block}.Conv_0.kernel").shape[-1]
            for block in range(0, num_blocks - _NUM_RES_BLOCKS, _NUM_RES_BLOCKS)
        ]
        codebook_size, codebook_dim = files.read("quantizer.codebook").shape
    return {
        "model_type": "maskgit_vqgan",
        "filters": base_channels,
        "channel_multipliers": [width // base_channels for width in channels],
        "embedding_dim": codebook_dim,
        "codebook_size": codebook_size,
    }


def recognizes(config):
    """Whether a configuration is one that `read_config` gives."""
    return config.get("model_type") == "maskgit_vqgan"


def constructor_arguments(config):
    """Arguments of `VQGANTokenizer` from a configuration, as a dict."""
    check_settings(config, num_res_blocks=_NUM_RES_BLOCKS)
    return {
        "base_channels": config["filters"],
        "channel_multipliers": config["channel_multipliers"],
        "num_res_blocks": _NUM_RES_BLOCKS,
        "codebook_size": config["codebook_size"],
        "codebook_dim": config["embedding_dim"],
        "num_groups": 32,
        # Only the decoder's first convolution has one; the others' are zero.
        "use_bias": True,
        "revival_steps": 0,
        "pixel_range": (0, 1),
    }


def load_weights(model, preset, folder=""):
    """Fills a `VQGANTokenizer`."""
    for variable in (*model.encoder.variables, *model.decoder.variables):
        if variable.name == "bias" or "/shortcut/" in variable.path:
            variable.assign(np.zeros(variable.shape))
    variables = {
        **_variables("encoder", model.encoder),
        **_variables("decoder", model.decoder),
        "quantizer.codebook": model.quantizer.codebook,
    }
    with MaskGITFiles(_checkpoint_file(preset)) as files:
        load_layers(files, variables)
    model.quantizer.mark_initialized()


def _variables(name, part):
    """Variables by Flax's names, which count the layers of each class."""
    table, num_blocks, num_convs = {}, 0, 0
    for stage in part.stages:
        if isinstance(stage, ResnetBlock):
            block = f"{name}.ResBlock_{num_blocks}"
            table |= _norm(f"{block}.GroupNorm_0", stage.norm_1)
            table[f"{block}.Conv_0.kernel"] = stage.conv_1.kernel
            table |= _norm(f"{block}.GroupNorm_1", stage.norm_2)
            table[f"{block}.Conv_1.kernel"] = stage.conv_2.kernel
            num_blocks += 1
        elif isinstance(stage, keras.layers.GroupNormalization):
            table |= _norm(f"{name}.GroupNorm_0", stage)
        elif stage.weights:
            table[f"{name}.Conv_{num_convs}.kernel"] = stage.kernel
            if (name, num_convs) != ("encoder", 0):
                table[f"{name}.Conv_{num_convs}.bias"] = stage.bias
            num_convs += 1
    return table


def _norm(name, layer):
    return {f"{name}.scale": layer.gamma, f"{name}.bias": layer.beta}


def _checkpoint_file(preset):
    if os.path.isdir(preset):
        files = glob.glob(os.path.join(preset, "tokenizer_*_checkpoint"))
        return files[0] if len(files) == 1 else None
    return preset if preset.endswith("_checkpoint") else None
