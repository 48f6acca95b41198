"""How the weights of the transformers are split over a mesh of devices.

The mesh has the axes `batch`, over which examples are split, and `model`. A
rule is a regular expression of a variable's whole path, with the mesh axis of
each of the variable's axes: first where only `model` splits weights, then
where they are fully sharded.

A path that ends in `/output` is what a layer hands on. Where weights are split
over `batch` too, it must be said that examples stay apart: XLA would else take
the split of the weights for one of the hidden axis, and bring whole batches to
each device.

Convolutions have no rule. A tokenizer is a hundredth of the transformers, and
its channels would be exchanged after each layer.
"""

import keras

_COLUMNS = (None, "model"), ("batch", "model")
# Columns and not rows: codebook_size + 1 rows do not divide by devices.
_EMBEDDING = (None, "model"), (None, "batch")
_OUTPUT = None, ("batch",)

# Any layer but the attention of CLIP, whose kernels have three axes in
# KerasHub, and that of tokenizers: these stay whole on each device.
_ANY = r".*(?<!/attention)(?<!middle_attention)(?<!level_\d_attention_\d)"
_TRANSFORMER_RULES = {
    # A device has some of the heads, and some of the columns of the MLP...
    f"{_ANY}/(query|key|value|intermediate_dense|gate_dense)/kernel": _COLUMNS,
    # ... and the rows that read them; only the sum is exchanged.
    f"{_ANY}/(attention_output|output_dense)/kernel": (
        ("model", None),
        ("model", "batch"),
    ),
    # The norms of queries and keys are left out: they act within a head, and
    # heads stay on their devices.
    r"(.*/)?(\w*(?<!query_)(?<!key_)norm|attention_output|output_dense|"
    r"\w*layer_\d+)/output": _OUTPUT,
}
# What the base, super-resolution and the U-ViT share.
_IMAGE_TOKEN_RULES = {
    **_TRANSFORMER_RULES,
    ".*/(text_projection|head_dense|head_logits)/kernel": _COLUMNS,
    r"(.*/)?(\w*embedding|text_projection|head_dense)/output": _OUTPUT,
}
MASKED_TOKEN_RULES = {
    **_IMAGE_TOKEN_RULES,
    ".*/(intermediate_dense|gate_dense|head_dense|head_logits)/bias": (
        ("model",),
        ("model",),
    ),
    ".*/codes/embeddings": _EMBEDDING,
    ".*/positions": ((None, None, "model"), (None, None, "batch")),
}
_TABLE = {"(.*/)?token_embedding/embeddings": _EMBEDDING}
UVIT_RULES = {
    **_IMAGE_TOKEN_RULES,
    **_TABLE,
    ".*/modulation/kernel": _COLUMNS,
    r"(.*/)?(condition_\w+|(embedding|input|output)_projection|modulation|"
    r"depthwise|(down|up)sample_conv|convnext_\d+|\w*_stage)/output": _OUTPUT,
}
TEXT_ENCODER_RULES = {**_TRANSFORMER_RULES, **_TABLE}
TOKENIZER_RULES = {}
ALL_RULES = {
    **MASKED_TOKEN_RULES,
    **UVIT_RULES,
    **TEXT_ENCODER_RULES,
    **TOKENIZER_RULES,
}


def layout_map(rules, device_mesh, fully_sharded=False):
    """Rules as Keras takes them."""
    layouts = keras.distribution.LayoutMap(device_mesh)
    for pattern, (split, fully_split) in rules.items():
        layout = fully_split if fully_sharded else split
        if layout is not None:
            layouts[pattern] = layout
    return layouts


def layout_map_method(rules):
    """The method `get_layout_map` of a model with these rules."""

    def get_layout_map(device_mesh, fully_sharded=False):
        """How the weights of the model are split over a mesh of devices.

        Args:
            device_mesh: `keras.distribution.DeviceMesh` with the axes `batch`
                and `model`. Heads and columns of the MLPs are split over
                `model`; tokenizers are not split.
            fully_sharded: bool. Whether weights are split over `batch` too.
                Defaults to `False`.

        Returns:
            A `keras.distribution.LayoutMap`, for
            `keras.distribution.ModelParallel`.
        """
        return layout_map(rules, device_mesh, fully_sharded)

    return staticmethod(get_layout_map)
