import numpy as np

from keras_muse.recipes.patches import Patches
from tests.helpers import tiny


def test_patches_are_whole_pictures_and_parts_of_large_ones():
    small = tiny.tiny_images(5, size=32)
    large = tiny.tiny_images(5, size=64)
    batches = Patches(small, large, 6, num_batches=3, seed=0)
    assert len(batches) == 3
    batch = batches[1]
    assert batch.shape == (6, 32, 32, 3) and batch.dtype == "uint8"
    for image in batch[:3]:
        assert any(np.array_equal(image, whole) for whole in small)
    windows = np.lib.stride_tricks.sliding_window_view(
        large, (32, 32), axis=(1, 2)
    )  # (5, 33, 33, 3, 32, 32)
    for image in batch[3:]:
        part = np.moveaxis(image, -1, 0)
        assert (windows == part).all((3, 4, 5)).any()
    np.testing.assert_array_equal(batch, batches[1])
    batches.on_epoch_end()
    assert not np.array_equal(batch, batches[1])
