import keras
import pytest

from keras_muse.data import ImageTextDataset
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
