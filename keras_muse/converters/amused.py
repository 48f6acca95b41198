"""aMUSEd's U-ViT: the `UVit2DModel` of diffusers."""

import numpy as np

from keras_muse.files.published_weights import DIFFUSERS
from keras_muse.files.published_weights import open_weights
from keras_muse.files.tensors import load_layers
from keras_muse.models.presets import published
from keras_muse.runtime.messages import say

# Constructor argument -> its name in `config.json`.
_NAMES = {
    "codebook_size": "codebook_size",
    "text_dim": "encoder_hidden_size",
    "num_layers": "num_hidden_layers",
    "hidden_dim": "hidden_size",
    "num_heads": "num_attention_heads",
    "intermediate_dim": "intermediate_size",
    "stage_dim": "block_out_channels",
    "stage_num_blocks": "num_res_blocks",
    "stage_num_heads": "block_num_heads",
    "condition_dim": "micro_cond_encode_dim",
    "downsample": "downsample",
}


def recognizes(config):
    """Whether a `config.json` is of this source."""
    return config.get("_class_name") == "UVit2DModel"


def constructor_arguments(config):
    """Arguments of `UViTBase` from a `config.json`, as a dict."""
    expected = {
        "use_bias": False,
        "ln_elementwise_affine": True,
        "layer_norm_eps": 1e-6,
        "cond_embed_dim": config["encoder_hidden_size"],
        "in_channels": config["block_out_channels"],
        "micro_cond_embed_dim": 5 * config["micro_cond_encode_dim"],
        "upsample": config["downsample"],
    }
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"`{name}` must be {value} in a U-ViT of this package. "
                f"Received: {name}={config[name]}"
            )
    side = config.get("sample_size", 64)
    return {
        **{ours: config[name] for ours, name in _NAMES.items()},
        "grid_size": (side, side),
    }


def load_weights(model, preset, folder=""):
    """Fills a `UViTBase`.

    What the empty text is, a text encoder must tell: of a pipeline its own is
    asked, while a transformer alone is left without.
    """
    with open_weights(preset, folder, DIFFUSERS) as files:
        load_layers(files, _layers(model))
    if published.is_pipeline(preset):
        # Imported here: it imports its own converter from this package.
        from keras_muse.models.text_encoders.clip_text_encoder import (
            CLIPTextEncoder,
        )

        encoder = CLIPTextEncoder.from_preset(
            preset, sequence_length=model.text_length - 1
        )
        text_embeddings, _ = encoder.encode([""])
        model.set_empty_text(text_embeddings[0])
    else:
        say(
            "UViTBase.from_preset: there is no text encoder beside the model; "
            "call `set_empty_text` before it is guided"
        )


def _layers(model):
    embeddings = model.token_embedding.embeddings

    def keep_used_rows(tensor):
        # The published table is rounded up; its last row is [MASK].
        return np.concatenate([tensor[: model.codebook_size], tensor[-1:]])

    layers = {
        "embed.embeddings.weight": (embeddings, keep_used_rows),
        "embed.layer_norm": model.embedding_norm,
        "embed.conv": model.embedding_projection,
        "encoder_proj": model.text_projection,
        "encoder_proj_layer_norm": model.text_norm,
        "cond_embed.linear_1": model.condition_dense,
        "cond_embed.linear_2": model.condition_output,
        "project_to_hidden_norm": model.input_norm,
        "project_to_hidden": model.input_projection,
        "project_from_hidden_norm": model.output_norm,
        "project_from_hidden": model.output_projection,
        "mlm_layer.conv1": model.head_dense,
        "mlm_layer.layer_norm": model.head_norm,
        "mlm_layer.conv2": model.head_logits,
    }
    for i, layer in enumerate(model.transformer_layers):
        layers |= _transformer_layer(f"transformer_layers.{i}", layer)
    layers |= _stage("down_block", model.first_stage)
    layers |= _stage("up_block", model.last_stage)
    return layers


def _transformer_layer(name, layer):
    norms = (
        layer.self_attention_norm,
        layer.cross_attention_norm,
        layer.feed_forward_norm,
    )
    layers = {
        **_attention(f"{name}.attn1", layer.self_attention),
        **_attention(f"{name}.attn2", layer.cross_attention),
        f"{name}.ff.net.0.proj": [layer.intermediate_dense, layer.gate_dense],
        f"{name}.ff.net.2": layer.output_dense,
    }
    for i, norm in enumerate(norms, start=1):
        layers[f"{name}.norm{i}.linear"] = norm.modulation
        layers[f"{name}.norm{i}.norm"] = norm.norm
    return layers


def _stage(name, stage):
    layers = {}
    for i, block in enumerate(stage.conv_blocks):
        path = f"{name}.res_blocks.{i}"
        response = f"{path}.channelwise_norm"
        layers |= {
            f"{path}.depthwise": block.depthwise,
            f"{path}.norm": block.norm,
            f"{path}.channelwise_linear_1": block.intermediate_dense,
            f"{response}.gamma": (block.response_scale, np.ravel),
            f"{response}.beta": (block.response_shift, np.ravel),
            f"{path}.channelwise_linear_2": block.output_dense,
            f"{path}.cond_embeds_mapper": block.modulation,
        }
    for i, block in enumerate(stage.attention_blocks):
        path = f"{name}.attention_blocks.{i}"
        if block.text_mapper is not None:
            layers[f"{path}.kv_mapper"] = block.text_mapper
        for j, norm in enumerate(block.norms, start=1):
            layers[f"{path}.norm{j}"] = norm
            attention = block.attentions[j - 1]
            layers |= _attention(f"{path}.attn{j}", attention)
    if stage.downsample:
        layers[f"{name}.downsample.norm"] = stage.downsample_norm
        layers[f"{name}.downsample.conv"] = stage.downsample_conv
    if stage.upsample:
        layers[f"{name}.upsample.norm"] = stage.upsample_norm
        layers[f"{name}.upsample.conv"] = stage.upsample_conv
    return layers


def _attention(name, layer):
    return {
        f"{name}.to_q": layer.query,
        f"{name}.to_k": layer.key,
        f"{name}.to_v": layer.value,
        f"{name}.to_out.0": layer.attention_output,
    }
