import keras
import numpy as np
import pytest

from keras_muse.muse import best_of
from tests.helpers.tiny_muse import shared_muse

PROMPTS = ["a red apple", "a cat"]


def pictures(*values):
    return np.stack([np.full((2, 2, 3), value, "uint8") for value in values])


def brightness(images, prompts):
    return images.mean(axis=(1, 2, 3))


def shades(images):
    return images[:, 0, 0, 0].tolist()


def test_the_best_of_each_prompt_come_first():
    images = pictures(3, 9, 5, 200, 100, 150)
    for number, expected in ((1, [9, 200]), (2, [9, 5, 200, 150])):
        chosen = best_of.choose_best(images, PROMPTS, brightness, number)
        assert shades(chosen) == expected and chosen.dtype == "uint8"


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float32", "float16"])
def test_scores_of_any_kind(dtype):
    chosen = best_of.choose_best(
        pictures(3, 9),
        ["a cat"],
        lambda *args: keras.ops.convert_to_tensor(np.array([0, 1], dtype)),
        1,
    )
    assert shades(chosen) == [9]


def test_of_equals_the_first_is_better():
    def all_equal(images, prompts):
        return [1] * len(images)

    chosen = best_of.choose_best(pictures(3, 9, 5), ["a cat"], all_equal, 2)
    assert shades(chosen) == [3, 9]


def test_the_scorer_reads_the_prompt_of_each_image():
    seen = []

    def scorer(images, prompts):
        seen.append(prompts)
        return brightness(images, prompts)

    best_of.choose_best(pictures(1, 2, 3, 4), PROMPTS, scorer, 1)
    assert seen == [["a red apple", "a red apple", "a cat", "a cat"]]


@pytest.mark.parametrize(
    "scores, received",
    [
        (np.zeros(3), r"\(3,\)"),
        (np.zeros((4, 1)), r"\(4, 1\)"),
        (0.5, r"shape \(\)"),
        ([0, np.nan, 1, 2], "nan"),
    ],
)
def test_scores_that_are_not_one_number_an_image_raise(scores, received):
    with pytest.raises(ValueError, match=f"`scorer` .*{received}"):
        best_of.choose_best(
            pictures(1, 2, 3, 4), PROMPTS, lambda *args: scores, 1
        )


# === In `generate` ===


@pytest.fixture(scope="module")
def muse():
    return shared_muse(cascade=False)


def draw(muse, prompts=PROMPTS, **kwargs):
    options = {"num_steps": 2, "seed": 3, "batch_size": 8, "verbose": 0}
    return muse.generate(prompts, **{**options, **kwargs})


def test_candidates_are_the_images_of_as_many_per_prompt(muse):
    candidates = draw(muse, num_images_per_prompt=4)  # prompt by prompt
    scores = brightness(candidates, None).reshape(2, 4)
    assert len(np.unique(scores)) == 8
    chosen = draw(muse, num_images_per_prompt=2, best_of=4, scorer=brightness)
    for i in range(2):
        best = np.argsort(-scores[i])[:2]
        np.testing.assert_array_equal(
            chosen[2 * i : 2 * i + 2], candidates[4 * i + best]
        )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"best_of": 4}, "`best_of` and `scorer`.*best_of=4, scorer=None"),
        ({"scorer": brightness}, "`best_of` and `scorer`.*best_of=None"),
        (
            {"best_of": 2, "num_images_per_prompt": 3, "scorer": brightness},
            "`best_of` must be at least.*best_of=2.*prompt=3",
        ),
        ({"best_of": 2, "scorer": "clip"}, "`scorer` must be a function.*clip"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt=0"),
    ],
)
def test_what_does_not_go_together_raises(muse, options, message):
    with pytest.raises(ValueError, match=message):
        draw(muse, **options)


def test_a_scorer_needs_texts(muse):
    embeddings, mask = muse.text_encoder.encode(PROMPTS)
    prompts = {"text_embeddings": embeddings, "text_mask": mask}
    with pytest.raises(ValueError, match="`best_of` needs `prompts` as texts"):
        draw(muse, prompts, best_of=2, scorer=brightness)
