"""The paper's architectures, built without allocating a weight."""

import math

import keras
import pytest

from keras_muse import Muse
from keras_muse import MuseBase
from keras_muse import MuseSuperRes
from keras_muse import UViTBase
from keras_muse import VQGANTokenizer
from keras_muse.models import PictureTextScorer
from keras_muse.models.presets.architectures import ARCHITECTURES
from keras_muse.models.presets.architectures import BUNDLED
from keras_muse.models.presets.architectures import DESCRIPTIONS


@pytest.fixture(autouse=True)
def forget_variables():
    """Else Keras would allocate them, billions, in a later test's scope."""
    yield
    keras.utils.clear_session()


def unallocated(cls, name, **kwargs):
    with keras.StatelessScope(initialize_variables=False):
        return cls.from_preset(name, load_weights=False, **kwargs)


def num_parameters(layer):
    return sum(math.prod(weight.shape) for weight in layer.weights)


def block_parameters(hidden_dim, num_layers, intermediate_dim, cross=True):
    """Matrices of the layers alone, as one counts on paper.

    Self-attention and cross-attention have four matrices each, the MLP two.
    """
    attentions = 8 if cross else 4
    layer = attentions * hidden_dim**2 + 2 * hidden_dim * intermediate_dim
    return num_layers * layer


def ends_parameters(
    hidden_dim, num_positions=256, codebook_size=8192, text_dim=4096
):
    """Codes in and out, positions, text projection and the head's layer."""
    return hidden_dim * (
        2 * codebook_size + num_positions + text_dim + hidden_dim
    )


# Name, class, the count by the formulas above, the paper's figure, and how
# far from the paper's figure is allowed. Biases and norms are what the formulas
# leave out.
TRANSFORMERS = [
    (
        "muse_base_632m",
        MuseBase,
        block_parameters(1024, 36, 4096) + ends_parameters(1024),
        632e6,
        0.01,
    ),
    # 3.22 billion in the layers, 46 million at the ends: the paper's "3B".
    (
        "muse_base_3b",
        MuseBase,
        block_parameters(2048, 48, 8192) + ends_parameters(2048),
        3e9,
        0.1,
    ),
    (
        "muse_super_res_268m",
        MuseSuperRes,
        block_parameters(768, 24, 3072)
        + block_parameters(768, 2, 3072, cross=False)
        + ends_parameters(768, num_positions=4096)
        + (8192 + 256) * 768,
        268e6,
        0.01,
    ),
]


@pytest.mark.parametrize("name, cls, formula, paper, tolerance", TRANSFORMERS)
def test_transformers_have_the_size_of_the_paper(
    name, cls, formula, paper, tolerance
):
    count = num_parameters(unallocated(cls, name))
    assert count == pytest.approx(formula, rel=0.01)
    assert count >= formula
    assert count == pytest.approx(paper, rel=tolerance)


def test_super_res_of_table_6():
    """The paper gives its layers and widths, no count: about 0.77 billion."""
    model = unallocated(MuseSuperRes, "muse_super_res")
    assert len(model.transformer_layers) == 32
    assert len(model.low_res_layers) == 16
    assert model.hidden_dim == 1024 and model.intermediate_dim == 4096
    assert model.grid_size == (64, 64) and model.low_res_grid_size == (16, 16)
    formula = (
        block_parameters(1024, 32, 4096)
        + block_parameters(1024, 16, 4096, cross=False)
        + ends_parameters(1024, num_positions=4096)
        + (8192 + 256) * 1024
    )
    assert num_parameters(model) == pytest.approx(formula, rel=0.01)


def test_the_3b_model_is_that_of_table_4():
    model = unallocated(MuseBase, "muse_base_3b")
    assert len(model.transformer_layers) == 48
    assert model.hidden_dim == 2048 and model.intermediate_dim == 8192
    assert model.grid_size == (16, 16) and model.codebook_size == 8192
    assert model.text_dim == 4096  # T5-XXL


def res_block_parameters(inputs, outputs):
    """Two 3 x 3 convolutions without bias, two norms, perhaps a shortcut."""
    convolutions = 9 * inputs * outputs + 9 * outputs**2
    shortcut = inputs * outputs if inputs != outputs else 0
    return convolutions + shortcut + 2 * inputs + 2 * outputs


@pytest.mark.parametrize(
    "name, factor, multipliers, num_blocks",
    [
        ("vqgan_f16", 16, (1, 1, 2, 2, 4), 2),
        ("vqgan_f8", 8, (1, 2, 2, 4), 2),
    ],
)
def test_tokenizers(name, factor, multipliers, num_blocks):
    tokenizer = unallocated(VQGANTokenizer, name)
    assert tokenizer.downsampling_factor == factor
    assert tuple(tokenizer.quantizer.codebook.shape) == (8192, 256)
    channels = [128, *(128 * multiplier for multiplier in multipliers)]
    blocks = 0
    for inputs, outputs in zip(channels, channels[1:], strict=False):
        blocks += res_block_parameters(inputs, outputs)
        blocks += (num_blocks - 1) * res_block_parameters(outputs, outputs)
    blocks += 2 * res_block_parameters(512, 512)  # the two in the middle
    ends = 9 * 3 * 128 + 512 * 256
    assert num_parameters(tokenizer.encoder) == pytest.approx(
        blocks + ends, rel=0.01
    )


def test_the_larger_decoder_of_the_paper():
    """Four blocks a level of twice the channels; the encoder is the same."""
    small = unallocated(VQGANTokenizer, "vqgan_f8")
    large = unallocated(VQGANTokenizer, "vqgan_f8_large_decoder")
    assert large.decoder_num_res_blocks == 4
    assert large.decoder_base_channels == 256
    assert num_parameters(large.encoder) == num_parameters(small.encoder)
    ratio = num_parameters(large.decoder) / num_parameters(small.decoder)
    assert 4 < ratio < 8  # four times as wide squared, up to twice as deep


# Name, class, downsampling or grid, and weights as one counts them once.
SMALL = [
    ("vqgan_f4_tiny", VQGANTokenizer, 4, 536_299),
    ("vqgan_f4_small", VQGANTokenizer, 4, 2_904_779),
    ("vqgan_f8_tiny", VQGANTokenizer, 8, 2_145_259),
    ("vqgan_f8_small", VQGANTokenizer, 8, 7_168_667),
    ("muse_base_tiny", MuseBase, (8, 8), 1_167_168),
    ("muse_base_small", MuseBase, (8, 8), 6_743_776),
    ("muse_base_medium", MuseBase, (16, 16), 20_098_048),
    ("muse_super_res_tiny", MuseSuperRes, (16, 16), 1_150_720),
    ("muse_super_res_small", MuseSuperRes, (32, 32), 12_370_688),
]


@pytest.mark.parametrize("name, cls, size, count", SMALL)
def test_small_sizes(name, cls, size, count):
    model = unallocated(cls, name)
    trained = sum(math.prod(w.shape) for w in model.trainable_variables)
    assert trained == count
    if cls is VQGANTokenizer:
        assert model.downsampling_factor == size
    else:
        assert model.grid_size == size
        assert model.text_dim == 384  # of the bundled text encoder


@pytest.mark.parametrize(
    "tokenizer, base, super_res",
    [
        ("vqgan_f4_tiny", "muse_base_tiny", "muse_super_res_tiny"),
        ("vqgan_f8_small", "muse_base_medium", "muse_super_res_small"),
    ],
)
def test_small_sizes_fit_together(tokenizer, base, super_res):
    codes = ARCHITECTURES[tokenizer][1]["codebook_size"]
    low, high = ARCHITECTURES[base][1], ARCHITECTURES[super_res][1]
    assert low["codebook_size"] == high["codebook_size"] == codes
    assert high["low_res_codebook_size"] == codes
    assert high["low_res_grid_size"] == low["grid_size"]


def test_all_sizes_say_what_they_suit():
    assert DESCRIPTIONS.keys() == {*ARCHITECTURES, *BUNDLED}
    for name, _, size, _ in SMALL:
        words = DESCRIPTIONS[name]
        assert (
            "pixels" in words
            if isinstance(size, int)
            else (f"{size[0]} x {size[1]} tokens" in words)
        )


CLASSES = (
    *(Muse, MuseBase, MuseSuperRes, UViTBase),
    *(PictureTextScorer, VQGANTokenizer),
)


def test_a_class_tells_the_presets_that_it_knows():
    loaded = {}
    for cls in CLASSES:
        for name, preset in cls.presets.items():
            loaded.setdefault(name, []).append(cls.__name__)
            assert preset["metadata"]["description"] == DESCRIPTIONS[name]
            assert preset["metadata"]["has_weights"] == (name in BUNDLED)
    of_names = {name: [kind] for name, (kind, _) in ARCHITECTURES.items()}
    of_names["muse_emoji"] = ["Muse", "MuseBase", "MuseSuperRes"]
    of_names["muse_emoji"] += ["VQGANTokenizer"]
    of_names["emoji_scorer"] = ["PictureTextScorer"]
    of_names["emoji_second_scorer"] = ["PictureTextScorer"]
    assert loaded == of_names


@pytest.mark.parametrize("cls", CLASSES)
def test_a_class_loads_its_bundled_presets(cls):
    for name, preset in cls.presets.items():
        if preset["metadata"]["has_weights"]:
            assert type(cls.from_preset(name)) is cls


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_weights_were_never_published(name):
    classes = {c.__name__: c for c in (MuseBase, MuseSuperRes, VQGANTokenizer)}
    class_name = ARCHITECTURES[name][0]
    with pytest.raises(ValueError, match="never published.*load_weights=True"):
        classes.pop(class_name).from_preset(name)
    for other in classes.values():
        with pytest.raises(ValueError, match=f"of `{class_name}`, not of"):
            other.from_preset(name, load_weights=False)


def test_arguments_override_an_architecture():
    model = unallocated(MuseBase, "muse_base_632m", num_layers=1, text_dim=8)
    assert len(model.transformer_layers) == 1
    assert tuple(model.text_projection.kernel.shape) == (8, 1024)
