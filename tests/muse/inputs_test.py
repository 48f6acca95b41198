"""What people hand to `Muse`, in any of its forms."""

import numpy as np
import pytest

from keras_muse.muse import inputs

IMAGES = np.zeros((2, 8, 6, 3), "uint8")


class Encoder:
    """One state a text: its length."""

    def encode(self, texts, batch_size):
        states = np.array([[[len(text)]] for text in texts], "float32")
        return np.repeat(states, 3, axis=1), np.ones((len(texts), 3), "bool")


# === Prompts ===


@pytest.mark.parametrize(
    "prompts, negative, num_images, expected",
    [
        ("a", None, 1, (["a"], None)),
        ("a", None, 3, (["a"] * 3, None)),
        (["a", "b"], None, 2, (["a", "b"], None)),
        (("a", "b"), "c", 2, (["a", "b"], ["c", "c"])),
        (["a", "b"], ["c", ""], 2, (["a", "b"], ["c", ""])),
        ({"prompts": "a"}, "c", 2, (["a", "a"], ["c", "c"])),
        ({"prompts": "a", "negative_prompts": "c"}, None, 1, (["a"], ["c"])),
    ],
)
def test_prompts_become_lists(prompts, negative, num_images, expected):
    found = inputs.check_prompts(prompts, negative, num_images)
    assert (found["prompts"], found["negative_prompts"]) == expected
    assert inputs.num_prompts(found) == len(expected[0])


def test_embeddings_pass_as_they_are():
    given = {
        "text_embeddings": np.ones((2, 3, 4)),
        "text_mask": np.ones((2, 3)),
    }
    found = inputs.check_prompts(given, None)
    assert found == given and inputs.num_prompts(found) == 2
    assert inputs.embed_prompts(None, found, 1) is found


@pytest.mark.parametrize(
    "prompts, negative",
    [
        ({"text_embeddings": 0}, None),
        ({"text_embeddings": 0, "text_mask": 0}, "c"),
        (
            {
                "text_embeddings": 0,
                "text_mask": 0,
                "negative_text_mask": 0,
            },
            None,
        ),
        ({"prompts": "a", "negative_prompts": "b"}, "c"),
        ({"prompts": "a", "text_mask": 0}, None),
        ({"negative_prompts": "a"}, None),
        ({}, None),
    ],
)
def test_other_dicts_are_refused_by_their_keys(prompts, negative):
    with pytest.raises(ValueError, match="`prompts` as a dict must.*Received"):
        inputs.check_prompts(prompts, negative)


def test_negative_prompts_are_one_or_as_many():
    with pytest.raises(ValueError, match="`negative_prompts`.*3 negative"):
        inputs.check_prompts(["a", "b"], ["c"] * 3)


def test_an_empty_negative_prompt_is_none():
    prompts = inputs.check_prompts(["a", "bb"], ["", "ccc"])
    text = inputs.embed_prompts(Encoder(), prompts, 2)
    assert text["text_embeddings"][:, 0, 0].tolist() == [1, 2]
    assert text["negative_text_embeddings"][:, 0, 0].tolist() == [0, 3]
    assert text["text_mask"].all()
    expected = [[False] * 3, [True] * 3]
    assert text["negative_text_mask"].tolist() == expected
    plain = inputs.check_prompts(["a"], None)
    assert "negative_text_mask" not in inputs.embed_prompts(Encoder(), plain, 1)


# === Pictures ===


def test_one_picture_is_a_batch_of_one():
    for images in (IMAGES, IMAGES[0]):
        found = inputs.check_images(images, (8, 6))
        assert found.shape == (*((2,) if images.ndim == 4 else (1,)), 8, 6, 3)


@pytest.mark.parametrize(
    "images, size",
    [
        *((IMAGES, (6, 8)), (IMAGES.astype("float32"), None)),
        *((IMAGES[:0], None), (IMAGES[..., :1], None), (IMAGES[0, 0], None)),
    ],
)
def test_other_pictures_are_refused(images, size):
    with pytest.raises(ValueError, match="`images` must be uint8 of shape"):
        inputs.check_images(images, size)


def test_masks_come_in_several_forms():
    expected = np.zeros((2, 8, 6), "bool")
    expected[:, 2:, 1] = True
    forms = [
        *(expected, expected[0], expected[..., None], expected.astype(int)),
        expected.astype("uint8") * 255,
    ]
    for masks in forms:
        found = inputs.check_masks(masks, IMAGES)
        assert found.dtype == bool
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "masks, words",
    [
        (np.zeros((1, 8, 6)), r"shape \(2, 8, 6\)"),
        (np.zeros((6, 8), "bool"), "masks.shape="),
        (np.zeros((8, 6)), "float64"),
        (np.full((8, 6), 7), r"\[7\]"),
        # Of what is 1 nobody knows whether it was meant.
        (np.where(np.eye(8, 6), 255, 1), r"\[  1 255\]"),
        (np.arange(48).reshape(8, 6) % 3 * 127 // 2, "values"),
    ],
)
def test_other_masks_are_refused(masks, words):
    with pytest.raises(ValueError, match=f"`masks` must be.*{words}"):
        inputs.check_masks(masks, IMAGES)


def test_a_canvas_holds_a_window():
    found = inputs.check_padding([1, 0, np.int64(2), 0], IMAGES, (9, 8))
    assert found == (1, 0, 2, 0)
    for padding in ([0, 0, 2, 0], [1, 0, 1, 0], [2**14 + 1, 0, 2, 0]):
        with pytest.raises(ValueError, match="`padding` must"):
            inputs.check_padding(padding, IMAGES, (9, 8))


def test_one_picture_takes_any_number_of_prompts():
    prompts = inputs.check_prompts(["a", "b", "c", "d"], None)
    values = np.arange(2)
    (one,) = inputs.repeat_per_prompt(prompts, values[:1])
    assert one.tolist() == [0] * 4
    with pytest.raises(ValueError, match="4 prompts for 2 images"):
        inputs.repeat_per_prompt(prompts, values)
    prompts = inputs.check_prompts(["a", "b"], None)
    first, second = inputs.repeat_per_prompt(prompts, values, values + 5)
    assert (first.tolist(), second.tolist()) == ([0, 1], [5, 6])
