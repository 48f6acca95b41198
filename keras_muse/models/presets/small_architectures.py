"""Small architectures by name, for small pictures, data and machines.

Use them as `VQGANTokenizer.from_preset("vqgan_f8_small", load_weights=False)`;
other arguments of the constructor come before what is here. The transformers
take the text states of the bundled `MiniLMTextEncoder`. `keras-muse train`
chooses among them.
"""

# What differs from the paper: codes are few and short, for a small transformer
# cannot predict many; MLPs are gated and queries and keys normalized, with
# which small models learn faster.
_TRANSFORMER = {
    "text_dim": 384,
    "use_gated_activation": True,
    "use_query_key_norm": True,
}
_TINY = {"hidden_dim": 128, "num_heads": 4, "intermediate_dim": 344}

SMALL_ARCHITECTURES = {
    "vqgan_f4_tiny": (
        "VQGANTokenizer",
        {
            "base_channels": 16,
            "channel_multipliers": (1, 2, 4),
            "num_res_blocks": 1,
            "codebook_size": 128,
            "codebook_dim": 8,
            "num_groups": 8,
        },
    ),
    "vqgan_f4_small": (
        "VQGANTokenizer",
        {
            "base_channels": 32,
            "channel_multipliers": (1, 2, 4),
            "num_res_blocks": 2,
            "codebook_size": 512,
            "codebook_dim": 8,
            "num_groups": 8,
        },
    ),
    "vqgan_f8_tiny": (
        "VQGANTokenizer",
        {
            "base_channels": 16,
            "channel_multipliers": (1, 2, 4, 8),
            "num_res_blocks": 1,
            "codebook_size": 512,
            "codebook_dim": 8,
            "num_groups": 8,
        },
    ),
    "vqgan_f8_small": (
        "VQGANTokenizer",
        {
            "base_channels": 32,
            "channel_multipliers": (1, 2, 4, 4),
            "num_res_blocks": 2,
            "codebook_size": 1024,
            "codebook_dim": 8,
            "decoder_base_channels": 48,
            "num_groups": 16,
        },
    ),
    "muse_base_tiny": (
        "MuseBase",
        {
            "codebook_size": 128,
            "grid_size": (8, 8),
            "num_layers": 4,
            **_TINY,
            **_TRANSFORMER,
        },
    ),
    "muse_base_small": (
        "MuseBase",
        {
            "codebook_size": 512,
            "grid_size": (8, 8),
            "num_layers": 6,
            "hidden_dim": 256,
            "num_heads": 8,
            "intermediate_dim": 680,
            **_TRANSFORMER,
        },
    ),
    "muse_base_medium": (
        "MuseBase",
        {
            "codebook_size": 1024,
            "grid_size": (16, 16),
            "num_layers": 8,
            "hidden_dim": 384,
            "num_heads": 6,
            "intermediate_dim": 1024,
            **_TRANSFORMER,
        },
    ),
    "muse_super_res_tiny": (
        "MuseSuperRes",
        {
            "codebook_size": 128,
            "low_res_codebook_size": 128,
            "grid_size": (16, 16),
            "low_res_grid_size": (8, 8),
            "num_layers": 3,
            "low_res_num_layers": 1,
            "block_size": 4,
            **_TINY,
            **_TRANSFORMER,
        },
    ),
    "muse_super_res_small": (
        "MuseSuperRes",
        {
            "codebook_size": 1024,
            "low_res_codebook_size": 1024,
            "grid_size": (32, 32),
            "low_res_grid_size": (16, 16),
            "num_layers": 5,
            "low_res_num_layers": 2,
            "hidden_dim": 320,
            "num_heads": 10,
            "intermediate_dim": 864,
            "block_size": 8,
            **_TRANSFORMER,
        },
    ),
}
