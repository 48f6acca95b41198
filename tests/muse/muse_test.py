import copy
import math

import keras
import numpy as np
import pytest

from keras_muse import Muse
from keras_muse.ops import images as image_ops
from tests.helpers import tiny
from tests.helpers.tiny_muse import shared_muse
from tests.helpers.tiny_muse import tiny_muse
from tests.helpers.tiny_muse import tiny_picture_tokenizer
from tests.helpers.tiny_muse import tiny_text_encoder

PROMPTS = ["a red apple", "a cat"]
STEPS = {"num_steps": 3, "super_res_num_steps": 2, "verbose": 0}


@pytest.fixture(scope="module")
def muse():
    """The whole cascade, one tokenizer for both sizes."""
    return shared_muse()


@pytest.fixture(scope="module")
def small_muse():
    return shared_muse(cascade=False)


def draw(muse, prompts=PROMPTS, *args, **kwargs):
    return muse.generate(prompts, *args, **{"seed": 5, **STEPS, **kwargs})


# === The cascade ===


def test_without_super_res_it_decodes_the_tokens_of_the_base(small_muse):
    images = draw(small_muse)
    embeddings, mask = small_muse.text_encoder.encode(PROMPTS)
    token_ids = small_muse.base.generate(
        embeddings, mask, num_steps=3, seed=5, verbose=0
    )
    expected = small_muse.image_tokenizer.decode(token_ids)
    assert images.shape == (2, 16, 16, 3) and images.dtype == "uint8"
    np.testing.assert_array_equal(images, image_ops.to_pixels(expected))
    assert images.std() > 5  # not a plain picture, which would prove nothing


@pytest.mark.parametrize("two_tokenizers", [False, True])
def test_super_res_reads_the_tokens_of_the_base(two_tokenizers):
    muse = tiny_muse(two_tokenizers=two_tokenizers)
    images = draw(muse, super_res_guidance_scale=2.0)
    text = muse.text_encoder.encode(PROMPTS)
    low = muse.base.generate(*text, num_steps=3, seed=5, verbose=0)
    high = muse.super_res.generate(
        *text, low, num_steps=2, seed=5, guidance_scale=2.0, verbose=0
    )
    tokenizer = muse.image_tokenizer
    if two_tokenizers:
        tokenizer = muse.high_res_image_tokenizer
    assert images.shape == (2, 32, 32, 3) and images.dtype == "uint8"
    np.testing.assert_array_equal(
        images, image_ops.to_pixels(tokenizer.decode(high))
    )


def test_guidance_of_super_res_defaults_to_that_of_the_base(muse):
    images = draw(muse, guidance_scale=2.0)
    for scale, equal in ((2.0, True), (8.0, False)):
        other = draw(muse, guidance_scale=2.0, super_res_guidance_scale=scale)
        assert np.array_equal(images, other) is equal


def test_callback_tells_stage_step_and_first_image(muse):
    calls = []

    def callback(stage, step, start, token_ids):
        calls.append((stage, step, start, token_ids.shape))

    draw(muse, ["a cat"] * 3, batch_size=2, callback=callback)
    expected = [
        ("base", step, start, (count, 4, 4))
        for start, count in ((0, 2), (2, 1))
        for step in range(3)
    ] + [
        ("super_res", step, start, (count, 8, 8))
        for start, count in ((0, 2), (2, 1))
        for step in range(2)
    ]
    assert calls == expected


# === Prompts ===


def test_one_prompt_may_be_a_string(small_muse):
    np.testing.assert_array_equal(
        draw(small_muse, "a cat"), draw(small_muse, ["a cat"])
    )


def test_prompts_matter(small_muse):
    images = draw(small_muse, ["a red apple", "a cat"], seed=[5, 5])
    assert not np.array_equal(*images)


def test_prompts_as_a_dict(muse):
    prompts = {"prompts": PROMPTS, "negative_prompts": ["blue", "green"]}
    before = copy.deepcopy(prompts)
    np.testing.assert_array_equal(
        draw(muse, prompts), draw(muse, PROMPTS, ["blue", "green"])
    )
    np.testing.assert_array_equal(
        draw(muse, {"prompts": PROMPTS}), draw(muse, PROMPTS)
    )
    assert prompts == before


def test_prompts_as_embeddings(muse):
    embeddings, mask = muse.text_encoder.encode(PROMPTS)
    negative, negative_mask = muse.text_encoder.encode(["blue", "green"])
    text = {"text_embeddings": embeddings, "text_mask": mask}
    guided = {
        **text,
        "negative_text_embeddings": negative,
        "negative_text_mask": negative_mask,
    }
    before = copy.deepcopy(guided)
    np.testing.assert_array_equal(draw(muse, text), draw(muse))
    np.testing.assert_array_equal(
        draw(muse, guided, num_images_per_prompt=2),
        draw(muse, PROMPTS, ["blue", "green"], num_images_per_prompt=2),
    )
    assert guided.keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(guided[name], value)


def test_unusable_prompts_raise(small_muse):
    for prompts in ([], ["a", 3], 3, None):
        with pytest.raises(ValueError, match="`prompts` must be a string"):
            draw(small_muse, prompts)
    with pytest.raises(ValueError, match=r"one per prompt \(2\).*Received: 3"):
        draw(small_muse, PROMPTS, ["blue"] * 3)
    with pytest.raises(ValueError, match="Received: .*negative"):
        draw(small_muse, {"prompts": PROMPTS, "negative": "blue"})
    with pytest.raises(ValueError, match="Received: .*negative_prompts"):
        draw(small_muse, {"negative_prompts": "blue"})
    embeddings, mask = small_muse.text_encoder.encode(PROMPTS)
    text = {"text_embeddings": embeddings, "text_mask": mask}
    with pytest.raises(ValueError, match="negative_prompts"):
        draw(small_muse, text, "blue")


# === Negative prompts ===


def test_an_empty_negative_prompt_is_none(muse):
    expected = draw(muse)
    for nothing in ("", ["", "  "], None):
        np.testing.assert_array_equal(draw(muse, PROMPTS, nothing), expected)


def test_each_prompt_has_its_own_negative_prompt(small_muse):
    none = draw(small_muse)
    mixed = draw(small_muse, PROMPTS, ["", "blue"])
    both = draw(small_muse, PROMPTS, "blue")
    np.testing.assert_array_equal(mixed[0], none[0])
    np.testing.assert_array_equal(mixed[1], both[1])
    assert not np.array_equal(both[0], none[0])
    assert not np.array_equal(both[1], none[1])


def test_without_guidance_the_negative_prompt_is_ignored(muse):
    np.testing.assert_array_equal(
        draw(muse, guidance_scale=1),
        draw(muse, PROMPTS, "blue", guidance_scale=1),
    )


# === Images and seeds ===


def test_images_come_prompt_by_prompt(muse):
    seeds = [11, 12, 13, 14]
    images = draw(muse, num_images_per_prompt=2, seed=seeds)
    repeated = [PROMPTS[0], PROMPTS[0], PROMPTS[1], PROMPTS[1]]
    assert len(images) == 4
    np.testing.assert_array_equal(images, draw(muse, repeated, seed=seeds))
    assert not np.array_equal(images[0], images[1])


def test_an_int_seed_counts_up(muse):
    np.testing.assert_array_equal(
        draw(muse, num_images_per_prompt=2, seed=11),
        draw(muse, num_images_per_prompt=2, seed=[11, 12, 13, 14]),
    )


def test_an_image_alone_is_the_image_in_a_batch(muse):
    images = draw(muse, num_images_per_prompt=3, seed=20, batch_size=4)
    for i in (0, 4):
        alone = draw(muse, PROMPTS[i // 3], seed=20 + i, batch_size=4)
        np.testing.assert_array_equal(alone[0], images[i])


def test_a_drawn_seed_is_printed_and_makes_the_picture_again(muse, capsys):
    images = draw(muse, seed=None)
    printed = capsys.readouterr().out.split()
    seeds = [int(w[5:]) for w in printed if w.startswith("seed=")]
    assert len(seeds) == 1
    np.testing.assert_array_equal(draw(muse, seed=seeds[0]), images)
    assert not np.array_equal(draw(muse, seed=None), images)


def test_a_wrong_number_of_seeds_raises(small_muse):
    with pytest.raises(ValueError, match=r"list of 2 ints.*seed=\[1, 2, 3\]"):
        draw(small_muse, seed=[1, 2, 3])


# === Parts that do not fit ===


@pytest.mark.parametrize(
    "names, make_parts",
    [
        (
            ("base", "image_tokenizer", "codebook_size", "16", "24"),
            lambda: {
                "image_tokenizer": tiny_picture_tokenizer(codebook_size=24)
            },
        ),
        (
            ("base", "text_encoder", "text_dim", "6", "8"),
            lambda: {"text_encoder": tiny_text_encoder(hidden_dim=8)},
        ),
        (
            ("super_res", "image_tokenizer", "codebook_size", "20", "16"),
            lambda: {
                "super_res": tiny.tiny_super_res(
                    codebook_size=20, low_res_grid_size=(4, 4)
                )
            },
        ),
        (
            ("super_res", "high_res_image_tokenizer", "codebook_size"),
            lambda: {
                "high_res_image_tokenizer": tiny_picture_tokenizer(
                    codebook_size=24
                )
            },
        ),
        (
            ("super_res", "base", "low-resolution codebook_size", "20"),
            lambda: {
                "super_res": tiny.tiny_super_res(
                    codebook_size=16,
                    low_res_codebook_size=20,
                    low_res_grid_size=(4, 4),
                )
            },
        ),
        (
            ("super_res", "base", "low-resolution grid_size", "(4, 2)"),
            lambda: {"super_res": tiny.tiny_super_res(codebook_size=16)},
        ),
        (
            ("super_res", "base", "text_dim", "7"),
            lambda: {
                "super_res": tiny.tiny_super_res(
                    codebook_size=16, low_res_grid_size=(4, 4), text_dim=7
                )
            },
        ),
    ],
)
def test_parts_that_do_not_fit_are_named(names, make_parts):
    with pytest.raises(ValueError) as caught:
        tiny_muse(**make_parts())
    for name in names:
        assert name in str(caught.value)


def test_summary_counts_the_weights_of_each_part(muse, capsys):
    muse.summary()
    lines = []
    muse.summary(print_fn=lines.append)
    assert capsys.readouterr().out.splitlines() == lines
    parts = (muse.text_encoder, muse.base, muse.image_tokenizer)
    parts += (muse.super_res,)
    if muse.high_res_image_tokenizer is not None:
        parts += (muse.high_res_image_tokenizer,)
    counts = [sum(math.prod(w.shape) for w in part.weights) for part in parts]
    assert [int(line.split()[-2].replace(",", "")) for line in lines] == [
        *counts,
        sum(counts),
    ]
    for part, line in zip(parts, lines, strict=False):
        assert type(part).__name__ in line


def test_config_round_trip():
    muse = tiny_muse(two_tokenizers=True)
    config = muse.get_config()
    copied = Muse.from_config(config)
    assert copied.get_config() == config
    assert copied.super_res.get_config() == muse.super_res.get_config()
    restored = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(muse)
    )
    assert isinstance(restored, Muse)
    assert restored.high_res_image_tokenizer.codebook_size == 20
    assert Muse.from_config(tiny_muse(False).get_config()).super_res is None
