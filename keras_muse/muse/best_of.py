"""The best of several pictures, in the eyes of a scorer."""

import numpy as np

from keras_muse.runtime.checks import check_array
from keras_muse.runtime.checks import check_batch_size
from keras_muse.runtime.checks import check_function
from keras_muse.runtime.checks import show


def check_best_of(best_of, scorer, num_images_per_prompt, prompts):
    """Checks what `Muse.generate` is asked to choose from.

    Args:
        best_of: int.
        scorer: function.
        num_images_per_prompt: int.
        prompts: dict, from `check_prompts`.

    Returns:
        int. How many pictures are drawn of each prompt.
    """
    if (best_of is None) != (scorer is None):
        raise ValueError(
            "`best_of` and `scorer` go together. Received: "
            f"best_of={show(best_of)}, scorer={show(scorer)}"
        )
    best_of = check_batch_size(best_of, "best_of")
    check_function(scorer, "scorer")
    if best_of < num_images_per_prompt:
        raise ValueError(
            "`best_of` must be at least `num_images_per_prompt`. Received: "
            f"best_of={best_of}, num_images_per_prompt={num_images_per_prompt}"
        )
    if "prompts" not in prompts:
        raise ValueError(
            "`best_of` needs `prompts` as texts, for the scorer to read. "
            f"Received: prompts with the keys {sorted(prompts)}"
        )
    return best_of


def choose_best(images, prompts, scorer, num_chosen):
    """The pictures of each prompt that score highest, the best first.

    Args:
        images: uint8 array of shape `(num_prompts * num_candidates, height,
            width, 3)`, prompt by prompt.
        prompts: list of strings, of length `num_prompts`.
        scorer: function of `(images, prompts)`, a prompt an image, that
            returns a number per image; larger is better.
        num_chosen: int. How many pictures of each prompt are kept.

    Returns:
        uint8 array of shape `(num_prompts * num_chosen, height, width, 3)`.

    Raises:
        ValueError: if the scores are not one finite number per image.
    """
    num_candidates = len(images) // len(prompts)
    asked = [prompt for prompt in prompts for _ in range(num_candidates)]
    scores = check_array(scorer(images, asked), "scorer")
    scores = scores.astype("float64")  # unsigned ones have no negative
    if scores.shape != (len(images),) or not np.isfinite(scores).all():
        raise ValueError(
            "`scorer` must return one finite number per image, an array of "
            f"shape {(len(images),)}. Received: shape {scores.shape}, "
            f"scores {scores.ravel()[:8]}"
        )
    return images[best_rows(scores, len(prompts), num_chosen)]


def best_rows(scores, num_prompts, num_chosen):
    """Which candidates of each prompt score highest, the best first.

    Args:
        scores: float array of shape `(num_prompts * num_candidates,)`.
        num_prompts: int.
        num_chosen: int. How many of each prompt are kept.

    Returns:
        int array of shape `(num_prompts * num_chosen,)`.
    """
    scores = np.reshape(scores, (num_prompts, -1))
    # Stable: of equals the first is better.
    order = np.argsort(-scores, axis=1, kind="stable")[:, :num_chosen]
    first = np.arange(num_prompts)[:, None] * scores.shape[1]
    return (first + order).ravel()
