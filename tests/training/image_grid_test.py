import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from keras_muse.training import ImageGrid
from keras_muse.training import draw_grid


def make_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4, 4, 3)), keras.layers.Conv2D(3, 1)]
    )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    return model


def make_images():
    images = np.random.default_rng(0).uniform(0, 1, (8, 4, 4, 3))
    return images.astype("float32")


def fit(model, epochs, callbacks):
    model.fit(
        make_images(),
        make_images(),
        batch_size=4,
        epochs=epochs,
        shuffle=False,
        callbacks=callbacks,
        verbose=0,
    )


def drawer(model, sheets):
    def draw():
        images = model.predict(make_images()[:2], verbose=0)
        images = (255 * images.clip(0, 1)).astype("uint8")
        sheets.append(np.asarray(draw_grid(images, ["one", "two"])))
        return images, ["one", "two"]

    return draw


def test_draws_the_model_of_each_epoch(tmp_path):
    model, sheets = make_model(), []
    fit(model, 3, [ImageGrid(drawer(model, sheets), tmp_path)])
    names = [f"epoch_000{epoch}.png" for epoch in (1, 2, 3)]
    assert sorted(os.listdir(tmp_path)) == names
    for name, sheet in zip(names, sheets, strict=True):
        np.testing.assert_array_equal(
            np.asarray(Image.open(tmp_path / name)), sheet
        )

    # The last sheet shows the weights that `fit` leaves, not older ones.
    drawer(model, sheets)()
    np.testing.assert_array_equal(sheets[-1], sheets[-2])
    assert (sheets[0] != sheets[-1]).any()


def test_training_is_the_same_with_and_without(tmp_path):
    watched, alone = make_model(), make_model()
    fit(watched, 3, [ImageGrid(drawer(watched, []), tmp_path)])
    fit(alone, 3, [])
    for a, b in zip(watched.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_draws_without_labels_every_few_epochs(tmp_path):
    images = np.zeros((3, 4, 4, 3), "uint8")
    grid = ImageGrid(lambda: images, tmp_path, every=2, columns=1)
    fit(make_model(), 5, [grid])
    names = ["epoch_0002.png", "epoch_0004.png"]
    assert sorted(os.listdir(tmp_path)) == names
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / names[0])),
        np.asarray(draw_grid(images, columns=1)),
    )


def test_tensorboard_shows_the_sheets(tmp_path):
    model, sheets = make_model(), []
    pictures, logs = tmp_path / "pictures", tmp_path / "logs"
    fit(model, 2, [ImageGrid(drawer(model, sheets), pictures, log_dir=logs)])
    events = EventAccumulator(str(logs)).Reload()
    assert events.Tags()["images"] == ["pictures"]
    shown = events.Images("pictures")
    assert [image.step for image in shown] == [0, 1]
    height, width, _ = sheets[0].shape
    assert (shown[0].height, shown[0].width) == (height, width)
    path = tmp_path / "shown.png"
    path.write_bytes(shown[1].encoded_image_string)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), sheets[1])


def test_the_working_directory_has_a_name_too(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    model = make_model()
    fit(model, 1, [ImageGrid(drawer(model, []), ".", log_dir="logs")])
    events = EventAccumulator("logs").Reload()
    assert events.Tags()["images"] == ["here"]


def test_its_directory_stays_where_it_was(tmp_path, monkeypatch):
    """Wherever the program goes while it trains."""
    monkeypatch.chdir(tmp_path)
    model = make_model()
    grid = ImageGrid(drawer(model, []), "pictures")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    fit(model, 1, [grid])
    assert os.listdir(tmp_path / "pictures") == ["epoch_0001.png"]
    assert not os.listdir(".")


def test_tensorboard_needs_no_tensorflow(tmp_path):
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from PIL import Image\n"
        "from keras_muse.training.event_writer import EventWriter\n"
        "writer = EventWriter(sys.argv[1])\n"
        "writer.add_image('sheet', Image.new('RGB', (2, 2)), 1)\n"
        "writer.close()\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=True,
    )
    (name,) = os.listdir(tmp_path)
    assert name.startswith("events.out.tfevents.")


def test_missing_tensorboard_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(ImportError, match=r"keras-muse\[tensorboard\]"):
        ImageGrid(lambda: None, tmp_path, log_dir=tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_unusable_interval_raises(tmp_path):
    with pytest.raises(ValueError, match="Received: every=0"):
        ImageGrid(lambda: None, tmp_path, every=0)
