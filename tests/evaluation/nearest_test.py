"""Copies are told from drawings."""

import numpy as np
import pytest
from PIL import Image
from PIL import ImageFilter

from keras_muse import data
from keras_muse.evaluation.nearest import Copies
from keras_muse.evaluation.nearest import NearestPictures


def emoji(split, count, **options):
    pairs = data.load_emoji(
        split=split, prompts="styled", shuffle=False, **options
    )
    return pairs.select_evenly(count)


@pytest.fixture(scope="module")
def trained_on():
    return emoji("train", 120)


@pytest.fixture(scope="module")
def nearest(trained_on):
    return NearestPictures(trained_on)


@pytest.fixture(scope="module")
def copies(nearest):
    return Copies(nearest, emoji("test_pair", 40))


def blurred(image):
    """As a tokenizer of few codes leaves a picture."""
    picture = Image.fromarray(image)
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(0.7)))


def test_a_copy_is_found_however_it_was_hidden(nearest, trained_on):
    places = [3, 30, 57, 84, 111]
    images, texts = trained_on.select(places).as_arrays()
    hidden = np.stack(
        [
            images[0],
            blurred(images[1]),
            images[2][:, ::-1],
            blurred(images[3][:, ::-1]),
            images[4] // 8 * 8,
        ]
    )
    distances, found = nearest(hidden)
    assert found.tolist() == places
    np.testing.assert_allclose(distances[[0, 2]], 0, atol=1e-5)
    assert distances.max() < 0.15
    assert nearest.pairs.select(found.tolist()).texts == texts


def test_planted_copies_show_among_drawings(copies, trained_on):
    drawn = emoji("test_concept", 20).as_arrays()[0]
    copies.reset()
    copies.update(drawn)
    honest = copies.results()
    true = copies.true_results()
    assert true["nearer_than_true"] == pytest.approx(0.05)
    assert honest["nearer_than_true"] <= 0.15
    assert honest["nearest_distance"] > 0.2 < true["nearest_distance"]
    copies.reset()
    copies.update(drawn[:10])
    planted, texts = trained_on.select([5, 50, 100]).as_arrays()
    copies.update(np.stack([blurred(image) for image in planted]))
    copies.update(drawn[10:])
    assert copies.results()["nearer_than_true"] >= 3 / 23
    # One honest drawing, a plain button, is as near to another button.
    assert set(copies.closest_rows(4)) > {10, 11, 12}
    originals = copies.training_pictures([10, 11, 12])
    np.testing.assert_array_equal(originals["images"], planted)
    assert originals["texts"] == texts
    assert max(originals["distances"]) < 0.15


def test_another_size_is_refused(nearest):
    with pytest.raises(ValueError, match=r"\(32, 32\).*Received: \(64, 64\)"):
        Copies(nearest, emoji("test_pair", 2, image_size=32))
