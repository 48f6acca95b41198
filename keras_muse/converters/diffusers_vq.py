"""The `VQModel` of diffusers, which is also aMUSEd's."""

from keras_muse.converters.vqgan_layers import check_settings
from keras_muse.converters.vqgan_layers import published_layers
from keras_muse.files.published_weights import DIFFUSERS
from keras_muse.files.published_weights import open_weights
from keras_muse.files.tensors import load_layers

_ENCODER = {
    "conv_in": "encoder.conv_in",
    "block": "encoder.down_blocks.{level}.resnets.{block}",
    "attention": "encoder.down_blocks.{level}.attentions.{block}",
    "resample": "encoder.down_blocks.{level}.downsamplers.0.conv",
    "middle_block_0": "encoder.mid_block.resnets.0",
    "middle_attention": "encoder.mid_block.attentions.0",
    "middle_block_1": "encoder.mid_block.resnets.1",
    "norm_out": "encoder.conv_norm_out",
    "conv_out": "encoder.conv_out",
    "quant_conv": "quant_conv",
}
_DECODER = {
    "post_quant_conv": "post_quant_conv",
    "conv_in": "decoder.conv_in",
    "middle_block_0": "decoder.mid_block.resnets.0",
    "middle_attention": "decoder.mid_block.attentions.0",
    "middle_block_1": "decoder.mid_block.resnets.1",
    "block": "decoder.up_blocks.{reversed}.resnets.{block}",
    "attention": "decoder.up_blocks.{reversed}.attentions.{block}",
    "resample": "decoder.up_blocks.{reversed}.upsamplers.0.conv",
    "norm_out": "decoder.conv_norm_out",
    "conv_out": "decoder.conv_out",
}
_BLOCK = {
    "norm_1": "norm1",
    "conv_1": "conv1",
    "norm_2": "norm2",
    "conv_2": "conv2",
    "shortcut": "conv_shortcut",
}
_ATTENTION = {
    "norm": "group_norm",
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "attention_output": "to_out.0",
}
# Of diffusers: old files do not have all settings.
_DEFAULTS = {
    "down_block_types": ["DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D"],
    "block_out_channels": [64],
    "layers_per_block": 1,
    "latent_channels": 3,
    "num_vq_embeddings": 256,
    "norm_num_groups": 32,
}
# Until diffusers 0.15.
_OLD_ATTENTION = {
    "norm": "group_norm",
    "query": "query",
    "key": "key",
    "value": "value",
    "attention_output": "proj_attn",
}


def recognizes(config):
    """Whether a `config.json` is of this source."""
    return config.get("_class_name") == "VQModel"


def constructor_arguments(config):
    """Arguments of `VQGANTokenizer` from a `config.json`, as a dict."""
    config = {**_DEFAULTS, **config}
    check_settings(
        config, in_channels=3, out_channels=3, act_fn="silu", norm_type="group"
    )
    channels = config["block_out_channels"]
    down = _attention_levels(config, "down_block_types", "DownEncoderBlock2D")
    up = _attention_levels(config, "up_block_types", "UpDecoderBlock2D")
    if {len(channels) - 1 - level for level in up} != set(down):
        raise ValueError(
            "`up_block_types` must mirror `down_block_types`. Received: "
            f"down_block_types={config['down_block_types']}, "
            f"up_block_types={config['up_block_types']}"
        )
    if any(width % channels[0] for width in channels):
        raise ValueError(
            "`block_out_channels` must be multiples of the first. Received: "
            f"block_out_channels={channels}"
        )
    latent_dim = config["latent_channels"]
    # The pipelines of those that look up tokens, aMUSEd's, have pixels in
    # [0, 1]; those of the others have them in [-1, 1].
    looks_up = config.get("lookup_from_codebook", False)
    return {
        "base_channels": channels[0],
        "channel_multipliers": [width // channels[0] for width in channels],
        "num_res_blocks": config["layers_per_block"],
        "decoder_num_res_blocks": config["layers_per_block"] + 1,
        "codebook_size": config["num_vq_embeddings"],
        "codebook_dim": config.get("vq_embed_dim") or latent_dim,
        "num_groups": config["norm_num_groups"],
        "use_bias": True,
        "downsampling": "conv",
        "attention_levels": down,
        "use_middle_attention": config.get("mid_block_add_attention", True),
        "use_quant_conv": True,
        "latent_dim": latent_dim,
        "revival_steps": 0,
        "pixel_range": (0, 1) if looks_up else (-1, 1),
    }


def _attention_levels(config, name, plain_type):
    types = config[name]
    if len(types) != len(config["block_out_channels"]) or not set(types) <= {
        plain_type,
        f"Attn{plain_type}",
    }:
        raise ValueError(
            f"`{name}` must have {plain_type!r} or 'Attn{plain_type}' for "
            f"each of `block_out_channels`. Received: {name}={types}"
        )
    return [i for i, kind in enumerate(types) if kind != plain_type]


def load_weights(model, preset, folder=""):
    """Fills a `VQGANTokenizer`."""
    with open_weights(preset, folder, DIFFUSERS) as files:
        is_old = any(".proj_attn." in name for name in files.names())
        inner_names = {**_BLOCK, **(_OLD_ATTENTION if is_old else _ATTENTION)}
        layers = {
            **published_layers(model.encoder, _ENCODER, inner_names),
            **published_layers(model.decoder, _DECODER, inner_names),
            "quantize.embedding.weight": model.quantizer.codebook,
        }
        load_layers(files, layers)
    model.quantizer.mark_initialized()
