"""Models and pictures for the commands that draw."""

import pytest
from PIL import Image

from keras_muse.muse.muse import Muse
from tests.helpers.tiny import tiny_images
from tests.helpers.tiny_muse import shared_muse


@pytest.fixture
def loaded(monkeypatch, tmp_path):
    """What was loaded; all presets are one model, which is compiled once."""
    names = []

    def from_preset(preset):
        names.append(preset)
        return shared_muse(cascade=False)

    monkeypatch.setattr(Muse, "from_preset", from_preset)
    monkeypatch.chdir(tmp_path)
    return names


@pytest.fixture
def picture(monkeypatch, tmp_path):
    """The picture in the file `in.png`, and the model for all presets."""
    monkeypatch.setattr(
        Muse, "from_preset", lambda preset: shared_muse(cascade=False)
    )
    monkeypatch.chdir(tmp_path)
    image = tiny_images(1)[0]
    Image.fromarray(image).save("in.png")
    return image
