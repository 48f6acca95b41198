import errno
import os

import keras
import numpy as np
import pytest

import keras_muse
from keras_muse.files.space import hdf5_size
from keras_muse.training.checkpoint_average import average_checkpoints
from tests.helpers.full_disk import full_disk
from tests.helpers.tiny import tiny_base
from tests.helpers.tiny import tiny_tokenizer
from tests.helpers.tiny_muse import tiny_muse


@pytest.fixture(scope="module")
def base():
    model = tiny_base()
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def models(base):
    with_lora = tiny_base()
    with_lora.enable_lora(2)
    muse = tiny_muse(cascade=False, base=base)
    return {"base": base, "lora": with_lora, "muse": muse}


# By the beginnings of the names of what they write.
WRITERS = {
    "a.keras": lambda models, path: models["base"].save(path),
    "a.weights.h5": lambda models, path: models["base"].save_weights(path),
    "a.weights.json": lambda models, path: models["base"].save_weights(
        path, max_shard_size=1e-5
    ),
    "directory": lambda models, path: models["base"].save(path, zipped=False),
    "preset": lambda models, path: models["base"].save_to_preset(path),
    "muse": lambda models, path: models["muse"].save_to_preset(path),
    "encoder": lambda models, path: models["muse"].text_encoder.save_to_preset(
        path
    ),
    "a.lora.h5": lambda models, path: models["lora"].save_lora_weights(path),
    "average.weights.h5": lambda models, path: average_checkpoints(
        [os.path.join(os.path.dirname(path), "source.weights.h5")], path
    ),
}


def contents(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("limit", [0, 5000])
def test_on_a_full_disk_nothing_is_written_half(tmp_path, models, name, limit):
    """HDF5 would end the process."""
    write, path = WRITERS[name], tmp_path / name
    if name.startswith("average"):
        models["base"].save_weights(tmp_path / "source.weights.h5")
    before = contents(tmp_path)
    with full_disk(limit), pytest.raises(OSError, match=name) as caught:
        write(models, str(path))
    assert caught.value.errno == errno.EFBIG
    assert "\n" not in str(caught.value)
    assert ".writing_" not in str(caught.value)
    assert contents(tmp_path) == before
    write(models, str(path))
    whole = contents(tmp_path)
    assert any(key.startswith(name) for key in whole)
    # What was there before stays.
    with full_disk(limit), pytest.raises(OSError, match=name):
        write(models, str(path))
    assert contents(tmp_path) == whole


def test_the_room_that_hdf5_takes_is_not_underestimated(tmp_path, base):
    tokenizer = tiny_tokenizer()
    for model in (base, tokenizer):
        path = tmp_path / "a.weights.h5"
        model.save_weights(path)
        optimizer = getattr(model, "optimizer", None)
        variables = [
            *model.variables,
            *model.metrics_variables,
            *(optimizer.variables if optimizer else ()),
        ]
        assert path.stat().st_size <= hdf5_size([*variables, *variables])
        # A large array takes little more than itself.
        large = np.zeros((1000, 1000), "float32")
        assert hdf5_size([large]) < 1.01 * large.nbytes


def test_weights_in_parts_are_found_by_their_index(tmp_path, base):
    (tmp_path / "mine.weights.h5").write_text("mine")
    base.save_weights(tmp_path / "a.weights.json", max_shard_size=1e-5)
    assert len(os.listdir(tmp_path)) > 3
    assert (tmp_path / "mine.weights.h5").read_text() == "mine"
    other = tiny_base(random_weights=False)
    other.compile("adam")
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "a.weights.json")
    for a, b in zip(base.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_paths_and_names_are_as_in_keras(tmp_path, base):
    base.save(tmp_path / "a.keras")
    assert isinstance(
        keras.saving.load_model(tmp_path / "a.keras"), keras_muse.MuseBase
    )
    with pytest.raises(ValueError, match="weights.h5.*filepath=.*/a.h6"):
        base.save_weights(tmp_path / "a.h6")
    assert os.listdir(tmp_path) == ["a.keras"]
