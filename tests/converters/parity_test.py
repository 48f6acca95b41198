import sys

import keras
import pytest

import keras_muse
from keras_muse.converters import convert
from tests.helpers import tiny_amused


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("amused"))
    tiny_amused.save_pipeline(directory)
    return directory


def test_report_sees_a_difference(pipeline):
    muse = keras_muse.Muse.from_preset(pipeline)
    weight = muse.base.head_norm.scale
    weight.assign(keras.ops.convert_to_numpy(weight) + 0.1)
    rows = keras_muse.converters.report(pipeline, {"base": muse.base})
    assert rows[0]["difference"] > 1e-2 * rows[0]["scale"]


def test_without_their_packages_nothing_is_compared(
    pipeline, tmp_path, monkeypatch
):
    for name in ("diffusers", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    rows = convert(pipeline, str(tmp_path / "preset"))
    assert [row["difference"] for row in rows] == [None] * 3
