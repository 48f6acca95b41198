"""Random resized crops and flips, on every backend."""

import functools
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_muse.data import ImageTextDataset
from keras_muse.data.augmentation import augment_options
from keras_muse.data.augmentation import enlarged_size
from keras_muse.data.augmentation import random_crop_and_flip
from keras_muse.data.sources import Row


def ramp_images(num_images, side):
    """Pictures whose red is the column and whose green is the row."""
    rows, columns = np.indices((side, side))
    image = np.stack([columns, rows, rows * 0], -1).astype("uint8")
    return np.stack([image] * num_images)


def test_every_crop_is_a_part_of_its_picture():
    images = ramp_images(32, 20)
    crops = random_crop_and_flip(images, (16, 16), seed=1)
    assert crops.shape == (32, 16, 16, 3)
    assert crops.dtype == np.uint8
    places = set()
    for crop in crops.astype(int):
        mirrored = crop[0, 0, 0] > crop[0, -1, 0]
        crop = crop[:, ::-1] if mirrored else crop
        left, top = crop[0, 0, 0], crop[0, 0, 1]
        expected = images[0, top : top + 16, left : left + 16]
        # keras_cv places its crops between pixels.
        np.testing.assert_allclose(crop, expected, atol=1)
        places.add((mirrored, left, top))
    assert len(places) > 10  # each picture has its own
    assert {mirrored for mirrored, _, _ in places} == {True, False}


def test_seed_decides_and_flip_can_be_turned_off():
    images = ramp_images(16, 20)
    first = random_crop_and_flip(images, (16, 16), seed=1, flip=False)
    again = random_crop_and_flip(images, (16, 16), seed=1, flip=False)
    other = random_crop_and_flip(images, (16, 16), seed=2, flip=False)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first[:, 0, 0, 0] < first[:, 0, -1, 0]).all()


def test_enlarged_size_covers_its_range():
    sides = [enlarged_size((100, 50), seed, 1.25) for seed in range(50)]
    assert all(100 <= h <= 125 and abs(h - 2 * w) <= 1 for h, w in sides)
    assert len({h for h, _ in sides}) > 10


def make_pairs(augment, image_size=16):
    buffer = io.BytesIO()
    Image.fromarray(ramp_images(1, 64)[0] * 4).save(buffer, "PNG")
    read = functools.partial(bytes, buffer.getvalue())
    rows = [Row(f"{i}.png", (f"{i}",), read) for i in range(8)]
    return ImageTextDataset(
        rows, image_size=image_size, augment=augment, shuffle=True
    )


def test_dataset_augments_batches_but_not_arrays():
    pairs, plain = make_pairs(True), make_pairs(False)
    batch = pairs[0]["image"]
    assert batch.shape == (8, 16, 16, 3)
    assert not np.array_equal(batch, plain[0]["image"])
    np.testing.assert_array_equal(batch, make_pairs(True)[0]["image"])
    np.testing.assert_array_equal(pairs.as_arrays()[0], plain[0]["image"])
    unflipped = make_pairs({"flip": False})[0]["image"].astype(int)
    assert (unflipped[:, 0, 0, 0] < unflipped[:, 0, -1, 0]).all()


def test_options_are_checked():
    for augment in ({"zoom": 2}, {"enlarge": 0.5}):
        with pytest.raises(ValueError, match="augment"):
            make_pairs(augment)
    with pytest.raises(ValueError, match="`augment` needs `image_size`"):
        make_pairs(True, image_size=None)


def test_everything_else_works_without_tensorflow():
    script = """
import sys
sys.modules["tensorflow"] = None
from keras_muse.data import load_emoji
from keras_muse.data.augmentation import random_crop_and_flip
pairs = load_emoji(styles=["fxemoji"], image_size=16)
assert pairs[0]["image"].shape == (32, 16, 16, 3)
assert "keras_cv" not in sys.modules and "grain" not in sys.modules
try:
    random_crop_and_flip(pairs[0]["image"], (8, 8), 0)
except ImportError as error:
    assert "augment" in str(error), error
else:
    raise SystemExit("keras_cv worked without tensorflow")
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


@pytest.mark.parametrize(
    "augment, words",
    [
        ("no", "`augment` must be True or False"),
        ({"flip": "no"}, "flip.* must be True or False"),
        ({"enlarge": float("nan")}, "enlarge.* must be a finite number"),
        ({"enlarge": "2"}, "enlarge.* must be a finite number"),
    ],
)
def test_what_is_no_augmentation_is_named(augment, words):
    with pytest.raises(ValueError, match=words):
        augment_options(augment, (8, 8))
