"""Checkpoints of Flax, as its own serialization writes them."""

import msgpack
import numpy as np
import pytest

from keras_muse.files.flax_files import FlaxFiles


def array(values):
    packed = msgpack.packb(
        (values.shape, values.dtype.name, values.tobytes()), use_bin_type=True
    )
    return msgpack.ExtType(1, packed)


# Nine numbers of which one is there.
CUT = msgpack.ExtType(1, msgpack.packb([[9], "int8", b"x"]))


def write(path, tree):
    path.write_bytes(msgpack.packb(tree))
    return path


def test_arrays_are_named_by_their_places(tmp_path):
    kernel = np.arange(6, dtype="float32").reshape(2, 3)
    step = msgpack.ExtType(3, array(np.array(7, "int32")).data)
    tree = {
        "params": {
            "encoder": {"Conv_0": {"kernel": array(kernel)}},
            "layers": {0: {"scale": array(np.ones(2, "float16"))}},
        },
        "step": step,
    }
    with FlaxFiles(write(tmp_path / "a.msgpack", tree)) as files:
        assert files.names() == {"encoder.Conv_0.kernel", "layers.0.scale"}
        found = files.read("encoder.Conv_0.kernel")
        np.testing.assert_array_equal(found, kernel)
        np.testing.assert_array_equal(files.read("layers.0.scale"), [1, 1])
        with pytest.raises(ValueError, match="`decoder`.*a.msgpack"):
            files.read("decoder")


@pytest.mark.parametrize(
    "tree, words",
    [
        ({"weights": 1}, "must hold `params` of Flax.*dict"),
        ([1, 2], "must hold `params` of Flax.*list"),
        ({"params": {"a": msgpack.ExtType(2, b"x")}}, "extension type 2"),
        ({"params": {"a": CUT}}, "no checkpoint of Flax"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_its_name(tmp_path, tree, words):
    with pytest.raises(ValueError, match=words) as caught:
        FlaxFiles(write(tmp_path / "a.msgpack", tree))
    assert "a.msgpack" in str(caught.value)
