"""What has a name: the bundled models, and the paper's architectures.

Use the latter as `MuseBase.from_preset("muse_base_632m",
load_weights=False)`. The paper gives the 3B base (Table 4), the
super-resolution model (Table 6) and what the tokenizers are made of (section
3, appendix A.2). It names the sizes of the models trained on CC3M, 632M and
268M, but not their shapes: those below reach them within 1 %.
"""

from keras_muse.files.bundled import ASSETS

# Directories of presets inside the package.
BUNDLED = {
    "emoji_scorer": str(ASSETS / "emoji_scorer"),
    "emoji_second_scorer": str(ASSETS / "emoji_second_scorer"),
    "muse_emoji": str(ASSETS / "muse_emoji"),
}

ARCHITECTURES = {
    "muse_base_632m": (
        "MuseBase",
        {
            "codebook_size": 8192,
            "num_layers": 36,
            "hidden_dim": 1024,
            "num_heads": 16,
            "intermediate_dim": 4096,
        },
    ),
    "muse_base_3b": (
        "MuseBase",
        {
            "codebook_size": 8192,
            "num_layers": 48,
            "hidden_dim": 2048,
            "num_heads": 32,
            "intermediate_dim": 8192,
        },
    ),
    "muse_super_res_268m": (
        "MuseSuperRes",
        {
            "codebook_size": 8192,
            "low_res_codebook_size": 8192,
            "num_layers": 24,
            "low_res_num_layers": 2,
            "hidden_dim": 768,
            "num_heads": 12,
            "intermediate_dim": 3072,
        },
    ),
    "muse_super_res": (
        "MuseSuperRes",
        {
            "codebook_size": 8192,
            "low_res_codebook_size": 8192,
            "num_layers": 32,
            "low_res_num_layers": 16,
            "hidden_dim": 1024,
            "num_heads": 16,
            "intermediate_dim": 4096,
        },
    ),
    "vqgan_f16": (
        "VQGANTokenizer",
        {"channel_multipliers": (1, 1, 2, 2, 4)},
    ),
    "vqgan_f8": (
        "VQGANTokenizer",
        {"channel_multipliers": (1, 2, 2, 4)},
    ),
    "vqgan_f8_large_decoder": (
        "VQGANTokenizer",
        {
            "channel_multipliers": (1, 2, 2, 4),
            "decoder_num_res_blocks": 4,
            "decoder_base_channels": 256,
        },
    ),
}
