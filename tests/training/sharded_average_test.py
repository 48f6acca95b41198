"""Averages of checkpoints, one variable at a time."""

import shutil

import numpy as np
import pytest

from keras_muse.training import saved_variables
from keras_muse.training.sharded_average import average_directories


def save(path, **values):
    ocp = saved_variables.orbax()
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
        items = {"weights": ocp.args.StandardSave(values)}
        writer.save(path, args=ocp.args.Composite(**items))
    return path


def read(path):
    directory = path / "weights"
    places = {
        name: np.empty(found.shape, found.dtype)
        for name, found in saved_variables.saved_shapes(directory).items()
    }
    return saved_variables.read(directory, places)


def test_floats_are_averaged_and_counters_are_the_last_ones(tmp_path):
    generator = np.random.default_rng(0)
    values = [generator.normal(size=(4, 3)).astype("float32") for _ in range(3)]
    paths = [
        save(
            tmp_path / str(i),
            kernel=value,
            narrow=value.astype("float16"),
            count=np.array(i),
        )
        for i, value in enumerate(values)
    ]
    average_directories(paths, tmp_path / "average", decay=0.75)
    found = read(tmp_path / "average")
    a, b, c = values
    expected = 0.5625 * a + 0.1875 * b + 0.25 * c
    np.testing.assert_allclose(found["kernel"], expected, rtol=1e-5)
    assert found["narrow"].dtype == "float16"
    # Taken in float32, and rounded once.
    narrow = [x.astype("float16").astype("float32") for x in values]
    expected = 0.5625 * narrow[0] + 0.1875 * narrow[1] + 0.25 * narrow[2]
    np.testing.assert_array_equal(found["narrow"], expected.astype("float16"))
    assert found["count"] == 2


def test_quantized_weights_must_be_the_same(tmp_path):
    """Those of one model are; and counters of the last are taken."""
    kernel = np.array([[1, -2], [3, 4]], "int8")
    first = save(tmp_path / "a", kernel=kernel, scale=np.ones(2), count=1)
    same = save(tmp_path / "b", kernel=kernel, scale=3 * np.ones(2), count=2)
    other = save(tmp_path / "c", kernel=-kernel, scale=np.ones(2), count=3)
    average_directories([first, same], tmp_path / "average", decay=0.5)
    found = read(tmp_path / "average")
    np.testing.assert_array_equal(found["kernel"], kernel)
    np.testing.assert_array_equal(found["scale"], 2 * np.ones(2))
    assert found["count"] == 2
    with pytest.raises(ValueError, match="differ.*Received: `kernel`, of int8"):
        average_directories([first, other], tmp_path / "none", decay=0.5)
    assert not (tmp_path / "none").exists()


def test_only_one_models_are_averaged_and_nothing_is_replaced(tmp_path):
    first = save(tmp_path / "a", kernel=np.ones((2, 3)))
    other = save(tmp_path / "b", kernel=np.ones((3, 2)), bias=np.ones(2))
    with pytest.raises(
        ValueError, match=r"2 differences.*\(2, 3\) and \(3, 2\); bias: absent"
    ):
        average_directories([first, other], tmp_path / "c", decay=0.5)
    assert not (tmp_path / "c").exists()
    with pytest.raises(ValueError, match="`output_path` must not exist"):
        average_directories([first, first], other, decay=0.5)


def lose(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Orbax leaves behind what it had begun to read.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", [lose, cut])
def test_a_checkpoint_that_is_not_whole_is_named(tmp_path, damage):
    """Whatever file it is; the average is right, or there is none."""
    first, whole = (
        save(tmp_path / name, kernel=np.full((2, 3), value), count=value)
        for name, value in (("first", 1.0), ("whole", 3.0))
    )
    num_refused = 0
    for path in sorted(p for p in whole.rglob("*") if p.is_file()):
        damaged, output = tmp_path / "damaged", tmp_path / "average"
        shutil.copytree(whole, damaged)
        damage(damaged / path.relative_to(whole))
        try:
            average_directories([first, damaged], output, decay=0.5)
        except ValueError as error:
            assert str(damaged) in str(error), path
            assert not output.exists(), path
            num_refused += 1
        else:
            np.testing.assert_array_equal(read(output)["kernel"], 2.0)
            shutil.rmtree(output)
        shutil.rmtree(damaged)
    assert num_refused
