"""The tokenizers of LlamaGen, f16 and f8.

They are published as one `.pt` file without a configuration, which is then
read from its tensors. What their code saves through the hub, a `config.json`
with `model.safetensors`, is read as well. Names and shapes are those of their
`tokenizer/tokenizer_image/vq_model.py`.
"""

import glob
import os

from keras_muse.converters.taming import INNER_NAMES
from keras_muse.converters.vqgan_layers import check_settings
from keras_muse.converters.vqgan_layers import published_layers
from keras_muse.files import hub
from keras_muse.files.damage import reading
from keras_muse.files.published_weights import open_weights
from keras_muse.files.tensors import load_layers
from keras_muse.files.torch_files import TorchFiles

_ENCODER = {
    "conv_in": "encoder.conv_in",
    "block": "encoder.conv_blocks.{level}.res.{block}",
    "attention": "encoder.conv_blocks.{level}.attn.{block}",
    "resample": "encoder.conv_blocks.{level}.downsample.conv",
    "middle_block_0": "encoder.mid.0",
    "middle_attention": "encoder.mid.1",
    "middle_block_1": "encoder.mid.2",
    "norm_out": "encoder.norm_out",
    "conv_out": "encoder.conv_out",
    "quant_conv": "quant_conv",
}
_DECODER = {
    "post_quant_conv": "post_quant_conv",
    "conv_in": "decoder.conv_in",
    "middle_block_0": "decoder.mid.0",
    "middle_attention": "decoder.mid.1",
    "middle_block_1": "decoder.mid.2",
    "block": "decoder.conv_blocks.{reversed}.res.{block}",
    "attention": "decoder.conv_blocks.{reversed}.attn.{block}",
    "resample": "decoder.conv_blocks.{reversed}.upsample.conv",
    "norm_out": "decoder.norm_out",
    "conv_out": "decoder.conv_out",
}
# Their code has no setting for these two.
_BASE_CHANNELS, _NUM_RES_BLOCKS = 128, 2


def read_config(preset):
    """The configuration that the tensors of a `.pt` file imply, or `None`.

    Args:
        preset: string. The path of the file, or of a directory in which it is
            the only one.
    """
    path = _pickle_file(preset)
    if path is None:
        return None
    with reading(path), TorchFiles(path) as files:
        names = files.names()
        if "encoder.conv_blocks.0.res.0.conv1.weight" not in names:
            return None

        def widths(name):
            return files.read(name).shape[:2]

        base_channels, _ = widths("encoder.conv_in.weight")
        multipliers = []
        while (
            name := f"encoder.conv_blocks.{len(multipliers)}.res.0.conv1.weight"
        ) in names:
            multipliers.append(widths(name)[0] // base_channels)
        codebook_dim, latent_dim = widths("quant_conv.weight")
        codebook_size, _ = widths("quantize.embedding.weight")
    return {
        "codebook_size": codebook_size,
        "codebook_embed_dim": codebook_dim,
        "codebook_l2_norm": True,  # as all that are published
        "encoder_ch_mult": multipliers,
        "z_channels": latent_dim,
    }


def recognizes(config):
    """Whether a configuration is of this source."""
    return {"codebook_embed_dim", "encoder_ch_mult"} <= set(config)


def constructor_arguments(config):
    """Arguments of `VQGANTokenizer` from a configuration, as a dict."""
    multipliers = config["encoder_ch_mult"]
    check_settings(config, decoder_ch_mult=multipliers)
    return {
        "base_channels": _BASE_CHANNELS,
        "channel_multipliers": multipliers,
        "num_res_blocks": _NUM_RES_BLOCKS,
        "decoder_num_res_blocks": _NUM_RES_BLOCKS + 1,
        "codebook_size": config["codebook_size"],
        "codebook_dim": config["codebook_embed_dim"],
        "num_groups": 32,
        "use_bias": True,
        "downsampling": "conv",
        "attention_levels": [len(multipliers) - 1],
        "use_middle_attention": True,
        "use_quant_conv": True,
        "latent_dim": config["z_channels"],
        "normalize_codes": config["codebook_l2_norm"],
        "revival_steps": 0,
    }


def load_weights(model, preset, folder=""):
    """Fills a `VQGANTokenizer`."""
    layers = {
        **published_layers(model.encoder, _ENCODER, INNER_NAMES),
        **published_layers(model.decoder, _DECODER, INNER_NAMES),
        "quantize.embedding.weight": model.quantizer.codebook,
    }
    with _open_files(preset, folder) as files:
        # A record of which codes the training used.
        load_layers(files, layers, ignored=[r"quantize\.codebook_used"])
    model.quantizer.mark_initialized()


def _open_files(preset, folder):
    config_file = os.path.join(folder, hub.CONFIG_FILE)
    if hub.has_file(preset, config_file):
        return open_weights(preset, folder)
    return TorchFiles(_pickle_file(preset))


def _pickle_file(preset):
    if os.path.isdir(preset):
        files = glob.glob(os.path.join(preset, "*.pt"))
        return files[0] if len(files) == 1 else None
    return preset if preset.endswith(".pt") else None
