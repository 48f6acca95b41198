"""A callback that shows what the model draws by now."""

import os
import pathlib

import keras

from keras_muse.runtime.checks import check_function
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_path
from keras_muse.training.event_writer import EventWriter
from keras_muse.training.sheets import draw_grid


class ImageGrid(keras.callbacks.Callback):
    """Draws pictures at the end of epochs and writes them as one sheet.

    Files are named by the epoch, counted from one as `ModelCheckpoint` does:
    `epoch_0003.png`.

    Args:
        draw: function without arguments that returns images, uint8 of shape
            `(num_images, height, width, 3)`, or `(images, labels)` with a list
            of strings. It may use the model that is being trained. With a
            fixed seed the same pictures can be watched as they improve.
        directory: string or path. Where the sheets go.
        log_dir: string or path. Where TensorBoard looks for events, to show
            the sheets as well, under the name of `directory`. Needs the extra
            `tensorboard`, but no TensorFlow. Defaults to `None`.
        every: integer. Epochs between two sheets. Defaults to `1`.
        columns: integer. Images in a row. Defaults to `8`.

    Raises:
        ValueError: if `every` is less than 1.
        ImportError: if `log_dir` is given and TensorBoard is not installed.

    Example:

    ```python
    import keras
    import numpy as np

    import keras_muse

    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Dense(3)])
    model.compile("adam", loss="mse")
    images = np.random.uniform(0, 255, (4, 8, 8, 3))

    def draw():
        return model.predict(images, verbose=0).clip(0, 255).astype("uint8")

    grid = keras_muse.training.ImageGrid(draw, "pictures/")
    model.fit(images, images, callbacks=[grid])  # pictures/epoch_0001.png
    ```
    """

    def __init__(self, draw, directory, log_dir=None, every=1, columns=8):
        super().__init__()
        if draw is None:
            raise ValueError("`draw` must be a function. Received: draw=None")
        self.draw = check_function(draw, "draw")
        # A program may go elsewhere while it trains.
        self.directory = pathlib.Path(
            os.path.abspath(check_path(directory, "directory"))
        )
        self.every = check_int(every, "every")
        self.columns = check_int(columns, "columns")
        # At once, so that a missing package shows before the training.
        self._events = None
        if log_dir is not None:
            self._events = EventWriter(check_path(log_dir, "log_dir"))

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every:
            return
        drawn = self.draw()
        images, labels = drawn if isinstance(drawn, tuple) else (drawn, None)
        sheet = draw_grid(
            images,
            labels,
            columns=self.columns,
            path=self.directory / f"epoch_{epoch + 1:04d}.png",
        )
        if self._events is not None:
            # Keras's own TensorBoard callback counts epochs from zero.
            self._events.add_image(self.directory.name, sheet, step=epoch)
