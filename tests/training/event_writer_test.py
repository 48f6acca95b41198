"""Files that TensorBoard reads."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from keras_muse.training.event_writer import EventWriter


def events(folder):
    loader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_file_loader"
    )
    return [
        event
        for path in sorted(folder.iterdir())
        for event in loader.LegacyEventFileLoader(str(path)).Load()
    ]


def test_pictures_are_read_back_pixel_by_pixel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), "uint8")
    writer = EventWriter(tmp_path / "new" / "logs")
    for step, image in enumerate(pixels):
        writer.add_image("drawn", Image.fromarray(image), 10 * step)
        # A reader does not wait for the end of the training.
        assert len(events(tmp_path / "new" / "logs")) == step + 2
    writer.close()
    version, *found = events(tmp_path / "new" / "logs")
    assert version.file_version == "brain.Event:2"
    for step, (event, image) in enumerate(zip(found, pixels, strict=True)):
        (value,) = event.summary.value
        assert (event.step, value.tag) == (10 * step, "drawn")
        assert (value.image.height, value.image.width) == (5, 4)
        content = io.BytesIO(value.image.encoded_image_string)
        np.testing.assert_array_equal(np.asarray(Image.open(content)), image)


def test_two_writers_of_one_second_share_no_file(tmp_path):
    writers = [EventWriter(tmp_path) for _ in range(2)]
    assert len(list(tmp_path.iterdir())) == 2
    for writer in writers:
        writer.close()


def test_without_tensorboard_it_says_what_to_install(tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name.partition(".")[0] == "tensorboard":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"`log_dir`.*keras-muse\[tensorb"):
        EventWriter(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
