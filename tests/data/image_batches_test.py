import copy

import keras
import numpy as np
import pytest

from keras_muse.data import ImageTextDataset
from keras_muse.data.image_batches import ImageBatches
from tests.helpers.picture_rows import ids
from tests.helpers.picture_rows import make_rows


@pytest.mark.parametrize("workers", [1, 2])
def test_fit_on_images(workers):
    """A model that learns pictures alone sees every one of them each epoch."""
    seen = []

    class Mean(keras.Model):
        def __init__(self):
            super().__init__()
            self.value = self.add_weight(shape=(), initializer="zeros")

        def call(self, images):
            return images * 0 + self.value

        def compute_loss(self, x, y, y_pred, *args, **kwargs):
            return keras.ops.mean((keras.ops.cast(x, "float32") - y_pred) ** 2)

    class Spy(ImageTextDataset):
        def __getitem__(self, index):
            batch = super().__getitem__(index)
            seen.append((self.epoch, ids(batch)))
            return batch

    pairs = Spy(
        make_rows(8), image_size=4, batch_size=4, shuffle=True, workers=workers
    )
    model = Mean()
    model.compile(optimizer=keras.optimizers.SGD(0.25))
    history = model.fit(pairs.images, epochs=1, verbose=0)
    first_loss = history.history["loss"][0]
    seen.clear()
    history = model.fit(pairs.images, epochs=4, verbose=0)
    assert history.history["loss"][-1] < 0.7 * first_loss
    # Before these four, Keras may look at a batch to build the model.
    for epoch in range(pairs.epoch - 4, pairs.epoch):
        rows = [i for when, batch in seen if when == epoch for i in batch]
        assert sorted(rows) == list(range(8))


def test_they_are_the_pictures_of_the_batches_and_share_their_place():
    pairs = ImageTextDataset(make_rows(6), image_size=4, batch_size=2)
    images = ImageBatches(pairs)
    assert len(images) == 3 and images.identity == pairs.identity
    for i in range(3):
        np.testing.assert_array_equal(images[i], pairs[i]["image"])
    images.step = 2
    assert pairs.step == 2
    pairs.step = 1
    assert images.step == 1
    images.steps_per_epoch = 2
    assert len(pairs) == pairs.steps_per_epoch == len(images) == 2
    images.on_epoch_begin()
    assert [len(images[i]) for i in range(2)] == [2, 2]
    images.on_epoch_end()
    assert pairs.step == 3


def test_a_copy_has_a_place_of_its_own():
    images = ImageTextDataset(make_rows(6), image_size=4, batch_size=2).images
    copied = copy.copy(images)
    copied.step = 2
    assert images.step == 0
    np.testing.assert_array_equal(copied[0], images[2])
