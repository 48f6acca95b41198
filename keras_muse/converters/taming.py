"""The VQGANs of taming-transformers, f16 with 1024 or 16384 codes.

They are published as a directory with `configs/model.yaml` and
`checkpoints/last.ckpt`.
"""

import glob
import os

import yaml

from keras_muse.converters.vqgan_layers import check_settings
from keras_muse.converters.vqgan_layers import published_layers
from keras_muse.files.damage import reading
from keras_muse.files.tensors import load_layers
from keras_muse.files.torch_files import TorchFiles

CHECKPOINT_FILE = "checkpoints/last.ckpt"
_TARGET = "taming.models.vqgan."
_ENCODER = {
    "conv_in": "encoder.conv_in",
    "block": "encoder.down.{level}.block.{block}",
    "attention": "encoder.down.{level}.attn.{block}",
    "resample": "encoder.down.{level}.downsample.conv",
    "middle_block_0": "encoder.mid.block_1",
    "middle_attention": "encoder.mid.attn_1",
    "middle_block_1": "encoder.mid.block_2",
    "norm_out": "encoder.norm_out",
    "conv_out": "encoder.conv_out",
    "quant_conv": "quant_conv",
}
_DECODER = {
    "post_quant_conv": "post_quant_conv",
    "conv_in": "decoder.conv_in",
    "middle_block_0": "decoder.mid.block_1",
    "middle_attention": "decoder.mid.attn_1",
    "middle_block_1": "decoder.mid.block_2",
    "block": "decoder.up.{level}.block.{block}",
    "attention": "decoder.up.{level}.attn.{block}",
    "resample": "decoder.up.{level}.upsample.conv",
    "norm_out": "decoder.norm_out",
    "conv_out": "decoder.conv_out",
}
INNER_NAMES = {
    "norm_1": "norm1",
    "conv_1": "conv1",
    "norm_2": "norm2",
    "conv_2": "conv2",
    "shortcut": "nin_shortcut",
    "norm": "norm",
    "query": "q",
    "key": "k",
    "value": "v",
    "attention_output": "proj_out",
}


def read_config(preset):
    """The configuration beside a checkpoint, or `None` if there is none.

    Args:
        preset: string. The directory as published, with `configs/*.yaml` or
            `*.yaml`, or the path of a `.ckpt` in it.
    """
    directory = preset
    if preset.endswith(".ckpt"):
        directory = os.path.dirname(preset)
        if os.path.basename(directory) == "checkpoints":
            directory = os.path.dirname(directory)
    for pattern in ("configs/*.yaml", "*.yaml"):
        for path in sorted(glob.glob(os.path.join(directory, pattern))):
            with reading(path), open(path, encoding="utf-8") as file:
                config = yaml.safe_load(file)
            if isinstance(config, dict) and recognizes(config):
                return config
    return None


def recognizes(config):
    """Whether a configuration is of this source."""
    model = config.get("model")
    target = model.get("target") if isinstance(model, dict) else None
    return str(target).startswith(_TARGET)


def constructor_arguments(config):
    """Arguments of `VQGANTokenizer` from the parsed YAML, as a dict."""
    check_settings(config["model"], target=f"{_TARGET}VQModel")
    params = config["model"]["params"]
    settings = params["ddconfig"]
    check_settings(params, remap=None, colorize_nlabels=None)
    check_settings(
        settings, double_z=False, in_channels=3, out_ch=3, resamp_with_conv=True
    )
    return {
        "base_channels": settings["ch"],
        "channel_multipliers": settings["ch_mult"],
        "num_res_blocks": settings["num_res_blocks"],
        "decoder_num_res_blocks": settings["num_res_blocks"] + 1,
        "codebook_size": params["n_embed"],
        "codebook_dim": params["embed_dim"],
        "num_groups": 32,
        "use_bias": True,
        "downsampling": "conv",
        "attention_levels": [
            level
            for level in range(len(settings["ch_mult"]))
            if settings["resolution"] // 2**level
            in settings["attn_resolutions"]
        ],
        "use_middle_attention": True,
        "use_quant_conv": True,
        "latent_dim": settings["z_channels"],
        "revival_steps": 0,
    }


def load_weights(model, preset, folder=""):
    """Fills a `VQGANTokenizer`."""
    layers = {
        **published_layers(model.encoder, _ENCODER, INNER_NAMES),
        **published_layers(model.decoder, _DECODER, INNER_NAMES),
        "quantize.embedding.weight": model.quantizer.codebook,
    }
    with TorchFiles(preset, CHECKPOINT_FILE, folder) as files:
        load_layers(files, layers, ignored=[r"loss\..*"])
    model.quantizer.mark_initialized()
