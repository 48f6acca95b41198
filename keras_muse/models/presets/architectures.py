"""What has a name: the bundled models, and architectures without weights.

Use the latter as `MuseBase.from_preset("muse_base_632m",
load_weights=False)`. Those of the paper are here, for pictures of 256 pixels
and accelerators; `small_architectures` has others. The paper gives the 3B base
(Table 4), the super-resolution model (Table 6) and what the tokenizers are
made of (section 3, appendix A.2). It names the sizes of the models trained on
CC3M, 632M and 268M, but not their shapes: those below reach them within 1 %.
"""

from keras_muse.files.bundled import ASSETS
from keras_muse.models.presets.small_architectures import SMALL_ARCHITECTURES

# Directories of presets inside the package.
BUNDLED = {
    "emoji_scorer": str(ASSETS / "emoji_scorer"),
    "emoji_second_scorer": str(ASSETS / "emoji_second_scorer"),
    "muse_emoji": str(ASSETS / "muse_emoji"),
}
# The classes whose `from_preset` takes them.
BUNDLED_CLASSES = {
    "emoji_scorer": ("PictureTextScorer",),
    "emoji_second_scorer": ("PictureTextScorer",),
    "muse_emoji": ("Muse", "MuseBase", "MuseSuperRes", "VQGANTokenizer"),
}

PAPER_ARCHITECTURES = {
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

ARCHITECTURES = {**PAPER_ARCHITECTURES, **SMALL_ARCHITECTURES}

# What each is for: the sides of the pictures, in pixels, and the machine.
DESCRIPTIONS = {
    "emoji_scorer": "emoji of 64 pixels against captions",
    "emoji_second_scorer": "the same by networks that no loss has seen",
    "muse_emoji": "bundled; draws emoji of 256 pixels",
    "muse_base_632m": "the paper's base, for pictures of 256 pixels",
    "muse_base_3b": "the paper's largest base, for pictures of 256 pixels",
    "muse_super_res_268m": "the paper's, from 256 to 512 pixels",
    "muse_super_res": "the paper's largest, from 256 to 512 pixels",
    "vqgan_f16": "the paper's, for pictures of 256 pixels, 16 to a token",
    "vqgan_f8": "the paper's, for pictures of 512 pixels, 8 to a token",
    "vqgan_f8_large_decoder": "the same with the paper's finer decoder",
    "vqgan_f4_tiny": "pictures of 32 pixels, minutes of a processor",
    "vqgan_f4_small": "pictures of 32 to 64 pixels, an hour of a processor",
    "vqgan_f8_tiny": "pictures of 64 to 128 pixels, an hour of a processor",
    "vqgan_f8_small": "pictures of 64 to 256 pixels, minutes of a GPU",
    "muse_base_tiny": "8 x 8 tokens, minutes of a processor",
    "muse_base_small": "8 x 8 tokens, an hour of a processor",
    "muse_base_medium": "16 x 16 tokens, minutes of a GPU",
    "muse_super_res_tiny": "from 8 x 8 to 16 x 16 tokens, on a processor",
    "muse_super_res_small": "from 16 x 16 to 32 x 32 tokens, on a GPU",
}


class Presets:
    """The attribute `presets` of a class, a dict of names as KerasHub has it.

    Each name has a `"metadata"` with a `"description"`, and in
    `"has_weights"` whether `from_preset` loads weights or needs
    `load_weights=False`.
    """

    def __get__(self, instance, owner):
        names = [n for n in BUNDLED if owner.__name__ in BUNDLED_CLASSES[n]]
        names += [
            name
            for name, (class_name, _) in ARCHITECTURES.items()
            if class_name == owner.__name__
        ]
        return {
            name: {
                "metadata": {
                    "description": DESCRIPTIONS[name],
                    "has_weights": name in BUNDLED,
                }
            }
            for name in names
        }
