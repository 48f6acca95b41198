"""Every argument: a right result, or an error that names it.

A value that stands for a plain one, as a scalar of another library or an
array of another byte order, gives what the plain one gives; any other is
refused by an error with the argument's name in backticks.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from PIL import Image

import keras_muse
from keras_muse import metrics
from keras_muse import optimizers
from keras_muse import samplers
from keras_muse import training
from keras_muse.data import ImageTextDataset
from keras_muse.data import load_image_text
from keras_muse.samplers.seeds import image_seeds
from tests.helpers import odd_values as odd
from tests.helpers import tiny
from tests.helpers import tiny_muse
from tests.helpers.odd_values import NOTHING
from tests.helpers.tiny_features import TinyScorer

NUM_DRAWS = 500


@dataclasses.dataclass(frozen=True)
class Case:
    """A public callable, and strategies of odd values for its arguments.

    Attributes:
        call: the callable.
        valid: dict of arguments with which it works.
        odd: dict of strategies by argument.
        is_slow: bool. Whether only refusals are quick.
    """

    call: Callable
    valid: dict
    odd: dict
    is_slow: bool = False


def sampler_cases():
    common = {
        "temperature": odd.numbers(0.5, low=0.0, high=None),
        "top_k": odd.integers(3, none=True),
        "top_p": odd.numbers(0.5, low=0.0, high=1.0, none=True),
        "mask_schedule": odd.names("cosine"),
        "guidance_schedule": odd.names("constant"),
        "guidance_interval": odd.intervals((0.25, 0.5)),
    }
    numbers = {
        "ConfidenceSampler": {"choice_temperature": odd.numbers(0.5, low=0.0)},
        "HaltonSampler": {"randomize": odd.bools(False)},
        "AmusedSampler": {"choice_temperature": odd.numbers(0.5, low=0.0)},
        "ReMDMSampler": {
            "eta": odd.numbers(0.5, low=0.0, high=1.0, none=True),
            "strategy": odd.names("cap"),
            "loop_interval": odd.intervals((0.25, 0.5)),
        },
    }
    for name, own in numbers.items():
        yield name, Case(getattr(samplers, name), {}, {**common, **own})
    yield (
        "ResamplingSampler",
        Case(
            samplers.ResamplingSampler,
            {},
            {"mask_ratio": odd.numbers(0.5, low=0.0, high=1.0)},
        ),
    )
    yield (
        "samplers.get",
        Case(
            samplers.get,
            {"sampler": "halton"},
            {"sampler": odd.names("halton")},
        ),
    )
    yield (
        "image_seeds",
        Case(image_seeds, {"seed": 7, "num_images": 2}, {"seed": odd.seeds(7)}),
    )


def drawing_cases():
    muse = tiny_muse.shared_muse(cascade=False)
    prompts = ["a red apple", "a cat"]
    images = tiny.tiny_images(2)
    masks = np.zeros((2, 16, 16), "bool")
    masks[:, 8:] = True
    drawing = {
        "negative_prompts": odd.texts(["on", "blue"], none=True),
        "seed": odd.seeds(7),
        "batch_size": odd.integers(2, high=2**16, none=True),
        "callback": odd.functions(),
        "verbose": odd.names("no", none=True).filter(
            lambda x: x.means is NOTHING
        ),
    }
    steps = {
        "num_steps": odd.integers(1, none=True),
        "super_res_num_steps": odd.integers(2, none=True),
        "guidance_scale": odd.numbers(2.0, low=0.0, high=1e6, none=True),
        "super_res_guidance_scale": odd.numbers(2.0, low=0.0, none=True),
        "sampler": odd.names("confidence", none=True),
        "super_res_sampler": odd.names("halton", none=True),
    }
    valid = {"prompts": prompts, "num_steps": 1, "seed": 7, "verbose": 0}
    valid |= {"guidance_scale": 2.0, "batch_size": 2}
    yield (
        "generate",
        Case(
            muse.generate,
            valid,
            {
                "prompts": odd.texts(prompts),
                "num_images_per_prompt": odd.integers(1, high=2**16),
                **drawing,
                **steps,
            },
        ),
    )
    yield (
        "generate, best of",
        Case(
            muse.generate,
            {**valid, "best_of": 1, "scorer": lambda i, p: np.arange(len(i))},
            {
                "best_of": odd.integers(1, high=2**16),
                "scorer": odd.functions() | st.sampled_from(ODD_SCORERS),
            },
        ),
    )
    editing = {**valid, "images": images}
    yield (
        "inpaint",
        Case(
            muse.inpaint,
            {**editing, "masks": masks},
            {
                "images": odd.pictures(images),
                "masks": odd.masks(masks),
                "prompts": odd.texts(prompts),
                "blend_width": odd.integers(3, low=0),
                **drawing,
                **steps,
            },
        ),
    )
    yield (
        "outpaint",
        Case(
            muse.outpaint,
            {**editing, "padding": (0, 0, 0, 8)},
            {
                "images": odd.pictures(images),
                "padding": odd.int_tuples((0, 0, 0, 8), low=0),
                "blend_width": odd.integers(3, low=0),
                "prompts": odd.texts(prompts),
                **drawing,
            },
        ),
    )
    edited = {name: editing[name] for name in ("prompts", "seed", "verbose")}
    yield (
        "edit",
        Case(
            muse.edit,
            {**edited, "images": images, "num_rounds": 1, "batch_size": 2},
            {
                "images": odd.pictures(images),
                "prompts": odd.texts(prompts),
                "num_rounds": odd.integers(1),
                "mask_ratio": odd.numbers(0.08, low=0.0, high=1.0),
                "top_k": odd.integers(3, none=True),
                **drawing,
            },
        ),
    )
    ids = tiny.tiny_ids(muse.base, 2)["token_ids"].reshape(2, 4, 4)
    yield (
        "preview",
        Case(
            muse.preview,
            {"stage": "base", "token_ids": ids},
            {"stage": odd.names("base"), "token_ids": odd.ids(ids, 17)},
        ),
    )
    text = tiny.tiny_text(2)
    yield (
        "base.generate",
        Case(
            muse.base.generate,
            {**text, "num_steps": 1, "seed": 7, "verbose": 0},
            {
                "text_embeddings": odd.floats(text["text_embeddings"]),
                "text_mask": odd.masks(text["text_mask"]).filter(
                    lambda x: (
                        np.shape(x.value) != (2, 5, 1)
                        and (x.means is NOTHING or np.max(x.value) == 1)
                    )
                ),
                "token_ids": odd.ids(ids, 17, none=True),
                **{k: drawing[k] for k in ("seed", "callback", "verbose")},
                "num_steps": odd.integers(1, high=2**20 - 1),
                "sampler": odd.names("confidence", none=True),
            },
        ),
    )
    yield (
        "tokenizer.encode",
        Case(
            muse.image_tokenizer.encode,
            {"images": images, "batch_size": 2},
            {"images": odd.pictures(images), "batch_size": odd.integers(2)},
        ),
    )
    yield (
        "tokenizer.decode",
        Case(
            muse.image_tokenizer.decode,
            {"token_ids": ids, "batch_size": 2},
            {
                "token_ids": odd.ids(ids, 16).filter(_not_narrow),
                "batch_size": odd.integers(2),
            },
        ),
    )
    yield (
        "encoder.encode",
        Case(
            muse.text_encoder.encode,
            {"texts": prompts, "batch_size": 2},
            {
                "texts": odd.texts(prompts).filter(
                    lambda x: np.size(x.value) or isinstance(x.value, set)
                ),
                "batch_size": odd.integers(2, high=2**16, none=True),
            },
        ),
    )


def _not_narrow(x):
    """A tokenizer decodes grids of any size."""
    return getattr(x.value, "shape", None) != (2, 1, 4)


ODD_SCORERS = [
    odd.Odd(lambda images, prompts, x=x: x)
    for x in (None, "best", [1.0], np.full(2, np.nan), [None, None], 1j, {})
]


def model_cases():
    heads = {"num_heads": odd.integers(2)}
    flags = {
        "use_gated_activation": odd.bools(False),
        "use_query_key_norm": odd.bools(False),
    }
    base = {"codebook_size": 16, "grid_size": (4, 4), **tiny.TRANSFORMER}
    sizes = ("num_layers", "hidden_dim", "intermediate_dim", "text_dim")
    yield (
        "MuseBase",
        Case(
            keras_muse.MuseBase,
            base,
            {
                "codebook_size": odd.integers(16),
                "grid_size": odd.int_tuples((4, 4)),
                **{name: odd.integers(base[name]) for name in sizes},
                **heads,
                **flags,
            },
            is_slow=True,
        ),
    )
    yield (
        "MuseSuperRes",
        Case(
            keras_muse.MuseSuperRes,
            {**base, "low_res_codebook_size": 16, "low_res_grid_size": (2, 2)},
            {
                "low_res_codebook_size": odd.integers(16),
                "low_res_grid_size": odd.int_tuples((2, 2)),
                "low_res_num_layers": odd.integers(1, low=0),
                "block_size": odd.integers(2),
            },
            is_slow=True,
        ),
    )
    stage = {"stage_dim": 8, "stage_num_blocks": 1, "stage_num_heads": 2}
    yield (
        "UViTBase",
        Case(
            keras_muse.UViTBase,
            {**base, **stage, "condition_dim": 4, "text_length": 5},
            {
                **{name: odd.integers(stage[name]) for name in stage},
                "condition_dim": odd.integers(4),
                "text_length": odd.integers(5),
                "downsample": odd.bools(False),
            },
            is_slow=True,
        ),
    )
    counts = ("base_channels", "num_res_blocks", "num_groups")
    yield (
        "VQGANTokenizer",
        Case(
            keras_muse.VQGANTokenizer,
            {},
            {
                **{name: odd.integers(4) for name in counts},
                "codebook_size": odd.integers(16),
                "codebook_dim": odd.integers(4),
                "decoder_base_channels": odd.integers(8, none=True),
                "channel_multipliers": odd.int_tuples((1, 1)),
                "revival_steps": odd.integers(5, low=0),
                "normalize_codes": odd.bools(False),
            },
            is_slow=True,
        ),
    )
    model = tiny.tiny_base(num_layers=1)

    def compile_base(**arguments):
        model.compile(**arguments)
        config = model.get_compile_config()
        return {k: v for k, v in config.items() if k != "optimizer"}

    yield (
        "base.compile",
        Case(
            compile_base,
            {"optimizer": "sgd"},
            {
                "label_smoothing": odd.numbers(0.5, low=0.0, high=1.0),
                "loss_average": odd.names("tokens"),
                "mask_schedule": odd.names("arccos"),
                "visible_loss_weight": odd.numbers(0.5, low=0.0),
                "text_dropout": odd.numbers(0.5, low=0.0, high=1.0),
                "remat": odd.bools(False),
                "gradient_accumulation_steps": odd.integers(2),
            },
        ),
    )
    tokenizer = tiny_muse.shared_muse(cascade=False).image_tokenizer
    weights = ("perceptual_weight", "adversarial_weight", "commitment_weight")
    yield (
        "tokenizer.compile",
        Case(
            tokenizer.compile,
            {"perceptual": keras.layers.Identity(), "adversarial_weight": 0.0},
            {
                **{
                    name: odd.numbers(
                        0.5, low=0.0, none=name != "adversarial_weight"
                    )
                    for name in weights
                },
                "adversarial_start": odd.integers(5, low=0),
                "reconstruction": odd.names("l1"),
            },
            is_slow=True,
        ),
    )


def layer_cases():
    layers = keras_muse.layers
    quantizer = {"codebook_size": 8, "codebook_dim": 4}
    attention = {"num_heads": 2, "grid_size": (4, 4), "block_size": 2}
    embedding = {"vocabulary_size": 9, "hidden_dim": 4, "grid_size": (2, 2)}
    for name, valid, others in (
        ("Attention", {"num_heads": 2}, {}),
        ("FeedForward", {"intermediate_dim": 4}, {}),
        ("ResnetBlock", {"channels": 4, "num_groups": 2}, {"use_bias": True}),
        ("TransformerLayer", {"num_heads": 2, "intermediate_dim": 4}, {}),
        ("UViTTransformerLayer", {"num_heads": 2, "intermediate_dim": 4}, {}),
        ("MultiAxisAttention", attention, {}),
        ("TokenEmbedding", embedding, {}),
        ("VectorQuantizer", quantizer, {}),
        ("ConvNeXtBlock", {"condition_dim": 4}, {}),
        ("FSQ", {"levels": (3, 5)}, {}),
    ):
        low = 2 if name == "FSQ" else 1
        strategies = {
            argument: odd.int_tuples(x, low)
            if isinstance(x, tuple)
            else odd.integers(x)
            for argument, x in valid.items()
        }
        layer = getattr(layers, name)
        yield name, Case(layer, {**valid, **others}, strategies)


def training_cases(directory):
    directory = str(directory)
    yield (
        "warmup_cosine",
        Case(
            optimizers.warmup_cosine,
            {"learning_rate": 0.5, "warmup_steps": 5, "total_steps": 9},
            {
                "learning_rate": odd.numbers(0.5, low=0.0),
                "warmup_steps": odd.integers(5),
                "total_steps": odd.integers(9),
            },
        ),
    )
    yield (
        "AdafactorMomentum",
        Case(
            optimizers.AdafactorMomentum,
            {},
            {
                "learning_rate": odd.numbers(0.5, low=0.0),
                "beta_1": odd.numbers(0.5, low=0.0, high=1.0),
                "beta_2": odd.numbers(0.5, low=0.0, high=1.0),
                "clip_threshold": odd.numbers(0.5, low=0.0),
            },
            is_slow=True,
        ),
    )
    yield (
        "Checkpoint",
        Case(
            training.Checkpoint,
            {"directory": directory},
            {
                "directory": odd.paths(directory),
                "save_freq": odd.integers(2),
                "max_to_keep": odd.integers(2, none=True),
            },
        ),
    )
    budget = {"seconds": 0.5, "directory": directory, "learning_rate": 0.5}
    yield (
        "TimeBudget",
        Case(
            training.TimeBudget,
            budget,
            {
                "seconds": odd.numbers(0.5, low=0.0),
                "directory": odd.paths(directory),
                "learning_rate": odd.numbers(0.5, low=0.0),
                "save_every": odd.numbers(0.5, low=0.0),
            },
        ),
    )
    yield (
        "average_checkpoints",
        Case(
            training.average_checkpoints,
            {"paths": ["a.weights.h5"], "output_path": "b.weights.h5"},
            {
                "decay": odd.numbers(0.5, low=0.0, high=1.0),
                "output_path": odd.paths("b.weights.h5"),
                "paths": odd.paths("a").map(lambda x: odd.Odd([x.value]))
                | odd.paths("a"),
            },
            is_slow=True,
        ),
    )
    images = tiny.tiny_images(2)
    yield (
        "draw_grid",
        Case(
            training.draw_grid,
            {"images": images, "labels": ["a", "b"]},
            {
                "images": odd.pictures(images),
                "columns": odd.integers(2),
                "scale": odd.integers(2, none=True),
                "labels": odd.texts(["a", "b"], none=True).filter(
                    lambda x: x.means is not NOTHING
                ),
            },
        ),
    )
    yield (
        "CodebookReport",
        Case(
            training.CodebookReport,
            {},
            {"warn_below": odd.numbers(0.5, low=0.0, high=1.0)},
        ),
    )
    yield (
        "RPrecision",
        Case(
            metrics.RPrecision,
            {"scorer": TinyScorer()},
            {
                "num_candidates": odd.integers(9, low=2),
                "seed": odd.integers(5, low=0, high=2**63 - 1),
            },
        ),
    )


def data_cases(directory):
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(directory / f"{name}.png")
        (directory / f"{name}.txt").write_text(name)
    yield (
        "load_image_text",
        Case(
            load_image_text,
            {"path": str(directory)},
            {
                "path": odd.paths(str(directory)),
                "image_size": odd.integers(8, none=True)
                | odd.int_tuples((8, 8)).filter(lambda x: x.value is not None),
                "batch_size": odd.integers(2),
                "shuffle": odd.bools(True),
                "seed": odd.integers(5, low=0, high=2**63 - 1),
                "verify": odd.names("decode", none=True),
                "max_pixels": odd.integers(2**20, high=178_956_970),
            },
        ),
    )
    pairs = load_image_text(directory, image_size=8)
    yield (
        "select_evenly",
        Case(pairs.select_evenly, {}, {"num_rows": odd.integers(2)}),
    )
    yield (
        "select",
        Case(
            pairs.select,
            {},
            {
                "indices": odd.int_tuples((1, 0), low=-2).filter(
                    lambda x: np.size(x.value)
                )
            },
        ),
    )


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return {
        **dict(sampler_cases()),
        **dict(drawing_cases()),
        **dict(model_cases()),
        **dict(layer_cases()),
        **dict(training_cases(tmp_path_factory.mktemp("training"))),
        **dict(data_cases(tmp_path_factory.mktemp("data"))),
    }


@pytest.fixture(scope="module")
def expected():
    """What plain values give, each computed once."""
    return {}


@settings(
    max_examples=NUM_DRAWS,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_right_result_or_an_error_that_names_the_argument(
    cases, expected, data
):
    name = data.draw(st.sampled_from(sorted(cases)))
    argument = data.draw(st.sampled_from(sorted(cases[name].odd)))
    check(name, cases[name], argument, data.draw(cases[name].odd[argument]),
          expected)  # fmt: skip


def check(name, case, argument, odd_value, expected):
    if odd_value.means is NOTHING:
        with pytest.raises((ValueError, TypeError)) as error:
            case.call(**{**case.valid, argument: odd_value.value})
        message = str(error.value)
        assert f"`{argument}`" in message, message
        assert "Received:" in message and len(message) < 1000, message
    elif not case.is_slow:
        key = name, argument, repr(odd_value.means)
        if key not in expected:
            arguments = {**case.valid, argument: odd_value.means}
            expected[key] = case.call(**arguments)
        arguments = {**case.valid, argument: odd_value.value}
        assert_same(case.call(**arguments), expected[key])


def assert_same(actual, expected):
    if isinstance(expected, np.ndarray | tuple):
        keras.tree.map_structure(
            np.testing.assert_array_equal, actual, expected
        )
    else:
        assert describe(actual) == describe(expected)


def test_other_rows_are_another_result(tmp_path):
    cases = dict(data_cases(tmp_path))
    select = cases["select"].call

    assert describe(select([1, 0])) == describe(select([1, 0]))
    assert describe(select([1, 0])) != describe(select([0, 1]))
    with pytest.raises(AssertionError, match="Nothing tells NoneTypes apart"):
        describe(None)


def describe(result):
    """What tells two results of one call apart."""
    if isinstance(result, keras.Layer | keras.metrics.Metric):
        config = result.get_config()
        return {k: str(v) for k, v in config.items() if k != "name"}
    if hasattr(result, "get_config"):
        return str(result.get_config())
    if isinstance(result, Image.Image):
        return result.tobytes()
    if isinstance(result, dict) and result:
        return result
    values = getattr(result, "__dict__", {}) or {"value": result}
    described = {
        k: str(v) for k, v in values.items() if isinstance(v, str | int | float)
    }
    if isinstance(result, ImageTextDataset):
        described |= {"rows": result.rows, "texts": result.texts}
    assert described, f"Nothing tells {type(result).__name__}s apart."
    return described
