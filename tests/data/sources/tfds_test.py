"""Rows of a dataset of TensorFlow Datasets."""

import subprocess
import sys
import types

import pytest

from keras_muse.data import load_image_text
from tests.helpers.collections import COLORS
from tests.helpers.collections import check_colors
from tests.helpers.collections import png


def test_an_odd_caption_of_tfds_is_reported(monkeypatch):
    records = [{"image": png("red"), "text": text} for text in (b"good", 5)]
    tfds = types.SimpleNamespace(
        core=None,
        data_source=lambda *args, **kwargs: records,
        decode=types.SimpleNamespace(SkipDecoding=object),
    )
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", tfds)
    with pytest.warns(UserWarning):
        pairs = load_image_text("tfds:fake", split="train")
    assert pairs.texts == ["good"]
    skipped = {"unreadable caption": ["fake/train/1"]}
    assert pairs.report["skipped"] == skipped


def test_a_dataset_that_nobody_knows_is_said_in_few_words(monkeypatch):
    class DatasetNotFoundError(ValueError):
        pass

    def data_source(*args, **kwargs):
        raise DatasetNotFoundError("there are " + "others, " * 1000)

    tfds = types.SimpleNamespace(
        data_source=data_source,
        decode=types.SimpleNamespace(SkipDecoding=object),
        core=types.SimpleNamespace(DatasetNotFoundError=DatasetNotFoundError),
    )
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", tfds)
    with pytest.raises(ValueError, match="`path` must name.*'tfds:none'$"):
        load_image_text("tfds:none")


def test_nothing_is_downloaded(monkeypatch):
    def data_source(name, download=True, **kwargs):
        assert not download, "tens of gigabytes"
        raise AssertionError("could not find data")  # as TFDS has it

    tfds = types.SimpleNamespace(
        data_source=data_source,
        decode=types.SimpleNamespace(SkipDecoding=object),
        core=types.SimpleNamespace(DatasetNotFoundError=KeyError),
    )
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", tfds)
    words = "`path`.* downloaded .*'tfds:coco'.*could not find data"
    with pytest.raises(ValueError, match=words):
        load_image_text("tfds:coco")


def test_without_tensorflow_it_says_what_is_missing(monkeypatch):
    """TFDS prints that it is, and gives an empty module."""
    empty = types.ModuleType("tensorflow_datasets")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", empty)
    with pytest.raises(ImportError, match="-datasets and tensorflow.*tfds:x"):
        load_image_text("tfds:x")


TFDS_BUILDER = f"""
import sys
import numpy as np
import tensorflow_datasets as tfds

class TinyCaptions(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        captions = tfds.features.Sequence({{"text": tfds.features.Text()}})
        image = tfds.features.Image(shape=(None, None, 3))
        features = {{"image": image, "captions": captions}}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {{"train": self._generate_examples()}}

    def _generate_examples(self):
        for name, color in {COLORS!r}.items():
            image = np.zeros((8, 12, 3), "uint8") + np.array(color, "uint8")
            texts = [{{"text": "a " + name + " wall"}}, {{"text": "more"}}]
            yield name, {{"image": image, "captions": texts}}

builder = TinyCaptions(data_dir=sys.argv[1], file_format="array_record")
builder.download_and_prepare()
"""


def test_tfds_of_a_real_builder(tmp_path, monkeypatch):
    """A dataset is built, stored as array records, and read back."""
    script = tmp_path / "build.py"
    script.write_text(TFDS_BUILDER)
    subprocess.run([sys.executable, script, tmp_path / "data"], check=True)
    import tensorflow_datasets as tfds

    (folder,) = tmp_path.glob("data/*/1.0.0")
    builder = tfds.builder_from_directory(folder)

    def data_source(name, download, **kwargs):
        # By name TFDS finds only what is published or imported.
        assert name == "tiny_captions"
        return builder.as_data_source(**kwargs)

    monkeypatch.setattr(tfds, "data_source", data_source)
    pairs = load_image_text("tfds:tiny_captions", image_size=8)
    check_colors(pairs)
    assert pairs.rows[0]["texts"][1] == "more"
