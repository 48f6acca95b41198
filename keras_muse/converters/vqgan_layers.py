"""From the names of a published VQGAN to layers of a `VQGANTokenizer`.

The published ones have one ancestor: their names differ, their blocks do not.
A converter says the names; here they meet our layers.
"""

import re


def published_layers(part, names, inner_names):
    """The layers of an encoder or decoder by their published names.

    Args:
        part: `VQGANEncoder` or `VQGANDecoder`.
        names: dict. What they call our stages. `"block"`, `"attention"` and
            `"resample"` stand for all levels: `{level}` is replaced by the
            index of the level, `{reversed}` by that from the other end, and
            `{block}` by the index of the block.
        inner_names: dict. What they call the layers inside of residual blocks
            and attentions, by our names of the attributes.

    Returns:
        Dict of layers, for `load_layers`.
    """
    layers = {}
    last_level = len(part.channel_multipliers) - 1
    for stage in part.stages:
        if not stage.weights:
            continue
        kind, level, block = _kind(stage.name)
        name = names[kind].format(
            level=level, reversed=last_level - level, block=block
        )
        inner = {
            f"{name}.{theirs}": getattr(stage, ours)
            for ours, theirs in inner_names.items()
            if getattr(stage, ours, None) is not None
        }
        layers |= inner or {name: stage}
    return layers


def _kind(name):
    """Which of `names` a stage of ours is, its level and its block."""
    if match := re.fullmatch(r"level_(\d+)_(block|attention)_(\d+)", name):
        return match[2], int(match[1]), int(match[3])
    if match := re.fullmatch(r"upsample_(\d+)_conv", name):
        return "resample", int(match[1]), 0
    if match := re.fullmatch(r"downsample_(\d+)", name):
        # Our downsampling k comes before level k; theirs ends level k - 1.
        return "resample", int(match[1]) - 1, 0
    return name, 0, 0


def check_settings(config, **expected):
    """Refuses, by its name, a setting that our model has no place for."""
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"`{name}` must be {value!r} in a VQGAN of this package. "
                f"Received: {name}={config[name]!r}"
            )
