import msgpack
import numpy as np
import pytest

import keras_muse
from keras_muse import VQGANTokenizer
from keras_muse.converters import maskgit
from tests.helpers.golden_vqgans import GoldenVQGAN
from tests.helpers.random_tensors import random_tensors


@pytest.fixture(scope="module")
def golden():
    return GoldenVQGAN("maskgit")


def save(path, tensors):
    """As Flax writes it: arrays are extension 1 of MessagePack."""
    tree = {}
    for name, tensor in tensors.items():
        *path_in_tree, last = name.split(".")
        branch = tree
        for part in path_in_tree:
            branch = branch.setdefault(part, {})
        array = (tensor.shape, tensor.dtype.name, tensor.tobytes())
        branch[last] = msgpack.ExtType(1, msgpack.packb(array))
    path.write_bytes(msgpack.packb({"params": tree}))
    return str(path)


def test_equals_maskgit(golden, tmp_path):
    path = save(tmp_path / "tokenizer_imagenet256_checkpoint", golden.tensors)
    tokenizer = VQGANTokenizer.from_preset(path)
    golden.check(tokenizer)
    assert maskgit.read_config(str(tmp_path)) == maskgit.read_config(path)
    # A model that had weights before is no different.
    for variable in tokenizer.encoder.variables:
        variable.assign(np.full(variable.shape, 0.3))
    maskgit.load_weights(tokenizer, path)
    golden.check(tokenizer)


def test_shapes_of_the_published_file():
    """As a port of it prints them, with a quarter of the channels."""
    arguments = maskgit.constructor_arguments(
        {
            "filters": 32,
            "channel_multipliers": [1, 1, 2, 2, 4],
            "embedding_dim": 64,
            "codebook_size": 1024,
        }
    )
    tokenizer = keras_muse.VQGANTokenizer(**arguments)
    variables = {
        **maskgit._variables("encoder", tokenizer.encoder),
        **maskgit._variables("decoder", tokenizer.decoder),
    }
    # Of 168 tensors one is the codebook, and four are shortcuts.
    assert len(variables) == 163
    shapes = {name: tuple(v.shape) for name, v in variables.items()}
    expected = {
        "decoder.Conv_0.bias": (128,),
        "decoder.Conv_0.kernel": (3, 3, 64, 128),
        "decoder.Conv_4.kernel": (3, 3, 32, 32),
        "decoder.Conv_5.kernel": (3, 3, 32, 3),
        "decoder.ResBlock_4.Conv_0.kernel": (3, 3, 128, 64),
        "decoder.ResBlock_8.GroupNorm_0.scale": (64,),
        "decoder.ResBlock_11.Conv_1.kernel": (3, 3, 32, 32),
        "encoder.Conv_0.kernel": (3, 3, 3, 32),
        "encoder.Conv_1.kernel": (1, 1, 128, 64),
        "encoder.GroupNorm_0.scale": (128,),
        "encoder.ResBlock_8.Conv_0.kernel": (3, 3, 64, 128),
    }
    assert {name: shapes[name] for name in expected} == expected
    assert "encoder.Conv_0.bias" not in variables


def test_wrong_tensors_are_refused_by_name(golden, tmp_path):
    path = tmp_path / "tokenizer_imagenet256_checkpoint"
    tensors = dict(golden.tensors)
    tensors["encoder.Conv_1.bias"] = np.zeros(5, "float32")
    save(path, tensors)
    with pytest.raises(ValueError, match="`encoder.Conv_1.bias` does not fit"):
        VQGANTokenizer.from_preset(str(path))
    del tensors["encoder.Conv_1.bias"]
    save(path, tensors)
    with pytest.raises(ValueError, match="`encoder.Conv_1.bias` is missing"):
        VQGANTokenizer.from_preset(str(path))
    save(path, {**golden.tensors, **random_tensors({"encoder.Extra": [3]})})
    with pytest.raises(ValueError, match="`encoder.Extra` has no place"):
        VQGANTokenizer.from_preset(str(path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        msgpack.packb([1, 2]),
        msgpack.packb({"params": msgpack.ExtType(5, b"")}),
        msgpack.packb({"params": msgpack.ExtType(1, b"\x01")}),
        msgpack.packb({"opt_state": {}}),
    ],
)
def test_other_files_are_refused_by_their_name(tmp_path, content):
    path = tmp_path / "tokenizer_imagenet256_checkpoint"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="tokenizer_imagenet256_checkpoint"):
        maskgit.read_config(str(path))


def test_other_presets_are_not_recognized(tmp_path):
    assert maskgit.read_config(str(tmp_path)) is None
    assert not maskgit.recognizes({"model_type": "bert"})
