"""Files that somebody made to do harm, or that a training spoilt."""

import json
import os
import shutil

import h5py
import numpy as np
import pytest
import torch
from array_record.python.array_record_module import ArrayRecordWriter

from keras_muse.data.token_shards.records import ends_of
from keras_muse.data.token_shards.records import pack_record
from keras_muse.training import saved_variables
from tests.files.mutations_test import snapshot
from tests.helpers import token_shards
from tests.helpers.file_kinds import Adapter
from tests.helpers.file_kinds import Averages
from tests.helpers.file_kinds import Budget
from tests.helpers.file_kinds import MuseJson
from tests.helpers.file_kinds import OrbaxAverages
from tests.helpers.file_kinds import OrbaxCheckpoint
from tests.helpers.file_kinds import Preset
from tests.helpers.file_kinds import PresetInShards
from tests.helpers.file_kinds import Resumed
from tests.helpers.file_kinds import Shards
from tests.helpers.file_kinds import Torch
from tests.helpers.file_kinds import Yaml
from tests.helpers.file_kinds import variables


def edit_hdf5(name, edit):
    def change(directory):
        with h5py.File(directory / name, "a") as file:
            edit(file)

    return change


def edit_json(name, edit):
    def change(directory):
        contents = json.loads((directory / name).read_text())
        edit(contents)
        (directory / name).write_text(json.dumps(contents))

    return change


def replace(name, value):
    def edit(file):
        attributes = dict(file[name].attrs)
        del file[name]
        file[name] = value
        file[name].attrs.update(attributes)

    return edit


def fill_with_nan(name):
    def edit(file):
        file[name][...] = np.nan

    return edit


def store_elsewhere(name):
    def edit(file):
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        file.create_dataset(name, shape, dtype, external="/etc/passwd")

    return edit


def edit_matrix(pattern, edit):
    """Changes the first matrix in the files of such names."""

    def change(directory):
        for path in sorted(directory.glob(pattern)):
            with h5py.File(path, "a") as file:
                names = []
                file.visit(names.append)
                for name in names:
                    if getattr(file[name], "ndim", 0) == 2:
                        return edit(name)(file)

    return change


def write_nan(directory):
    """Writes the weights of a checkpoint anew, one of which is no number."""
    part, *_ = sorted(directory.glob("*/weights"))
    shapes = saved_variables.saved_shapes(part)
    values = {
        name: np.full(m.shape, np.nan, m.dtype) if m.shape else np.array(0)
        for name, m in shapes.items()
        if "seed" not in name
    }
    shutil.rmtree(part.parent)
    ocp = saved_variables.orbax()
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
        items = {"weights": ocp.args.StandardSave(values)}
        writer.save(part.parent, args=ocp.args.Composite(**items))


def write_record(**changes):
    """A shard with one record, of which this is changed."""

    def change(directory):
        metadata = json.loads((directory / "metadata.json").read_text())
        record = {
            "token_ids": np.zeros((1, 4), "int32"),
            "captions": ["a"],
            "texts": [np.ones((2, token_shards.DIM), "float32")],
            **changes,
        }
        path = directory / metadata["shards"][0]["name"]
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for _ in range(metadata["num_records"]):
            writer.write(pack_record(**record))
        writer.close()
        metadata["shards"][0]["num_bytes"] = path.stat().st_size
        metadata["shards"][0]["ends"] = ends_of(path)
        (directory / "metadata.json").write_text(json.dumps(metadata))

    return change


class Malicious:
    """A pickle that makes a directory when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def run_code(directory):
    proof = str(directory / "proof")
    tensors = {"a.weight": torch.ones(1), "b.weight": Malicious(proof)}
    torch.save(tensors, directory / "evil.bin")
    os.remove(directory / "pytorch_model.bin")
    index = directory / "pytorch_model.bin.index.json"
    files = {"a.weight": "evil.bin"}
    index.write_text(json.dumps({"weight_map": files}))


def run_code_of_yaml(directory):
    path = directory / "model.yaml"
    proof = directory / "proof"
    path.write_text(f"!!python/object/apply:os.mkdir ['{proof}']")


LORA = "one/lora_kernel_a"
NAN = np.full((3, 2), np.nan, "float32")
CRAFTED = {
    "an adapter of NaN": (
        Adapter,
        edit_hdf5("a.lora.h5", replace(LORA, NAN)),
        f"a.lora.h5.*`/{LORA}`.*NaN",
    ),
    "an adapter of words": (
        Adapter,
        edit_hdf5("a.lora.h5", replace(LORA, [["a", "b"]] * 3)),
        "a.lora.h5.*two matrices",
    ),
    "an adapter of two ranks": (
        Adapter,
        edit_hdf5("a.lora.h5", replace(LORA, np.ones((3, 5), "float32"))),
        r"a.lora.h5.*\(3, 5\)",
    ),
    "an adapter that reads another file": (
        Adapter,
        edit_hdf5("a.lora.h5", store_elsewhere(LORA)),
        f"a.lora.h5.*`/{LORA}` lies in another file",
    ),
    "a state of NaN": (
        Budget,
        edit_hdf5(
            "state.weights.h5",
            replace("layers/dense/vars/0", np.full((3, 2), np.inf, "float32")),
        ),
        "state.weights.h5.*`layers/dense/vars/0`.*NaN or inf",
    ),
    "a state larger than the model": (
        Budget,
        edit_hdf5(
            "state.weights.h5",
            replace("layers/dense/vars/0", np.ones(2**19, "float32")),
        ),
        "state.weights.h5.*larger than any",
    ),
    "a clock that stands still": (
        Budget,
        edit_json("clock.json", lambda c: c.update(spent=float("nan"))),
        "clock.json.*`spent`",
    ),
    "an average of NaN": (
        Averages,
        edit_hdf5(
            "first.weights.h5",
            replace("layers/dense/vars/1", np.full(2, np.nan, "float32")),
        ),
        "first.weights.h5.*`/layers/dense/vars/1`.*NaN",
    ),
    "a checkpoint of NaN": (OrbaxCheckpoint, write_nan, "weights`.*NaN"),
    "an average of a checkpoint of NaN": (
        OrbaxAverages,
        write_nan,
        "1/weights`.*NaN",
    ),
    "a position that is none": (
        Resumed,
        edit_json("1/position/metadata", lambda c: c.update(epoch="first")),
        "position`.*epoch='first'",
    ),
    "a preset of NaN": (
        Preset,
        edit_matrix("model.weights.h5", fill_with_nan),
        "model.weights.h5.*NaN",
    ),
    "a shard that reads another file": (
        PresetInShards,
        edit_matrix("model_0*.weights.h5", store_elsewhere),
        "model_0.*.weights.h5.*in another file",
    ),
    "a record of NaN": (
        Shards,
        write_record(texts=[np.full((2, token_shards.DIM), np.nan)]),
        "array_record` has a damaged record 0.*NaN",
    ),
    "a record of other codes": (
        Shards,
        write_record(token_ids=np.full((1, 4), 256)),
        "array_record.*from 256 to 256.*256 codes",
    ),
    "a record of another size": (
        Shards,
        write_record(token_ids=np.zeros((1, 5), "int32")),
        "array_record.*shape .1, 5",
    ),
    "a part elsewhere": (
        MuseJson,
        edit_json("muse.json", lambda c: c["parts"].update({"..": {}})),
        "muse.json.*beside it",
    ),
    "a file elsewhere": (
        MuseJson,
        edit_json(
            "muse.json",
            lambda c: c["parts"]["base"]["files"].append("a/../../b"),
        ),
        "muse.json.*beside it",
    ),
    "a shard that runs code": (Torch, run_code, "evil.bin.*run code.*mkdir"),
    "YAML that runs code": (Yaml, run_code_of_yaml, "model.yaml.*python"),
}


@pytest.mark.parametrize("case", CRAFTED)
def test_crafted_files_are_refused_by_name(case, tmp_path):
    kind, edit, message = CRAFTED[case]
    format = kind()
    format.make(tmp_path)
    edit(tmp_path)
    before = snapshot(tmp_path)
    model = getattr(format, "model", None)
    weights = model and variables(model)
    with pytest.raises(ValueError, match=message) as error:
        format.load(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert snapshot(tmp_path) == before
    if model is not None:
        for name, value in variables(model).items():
            np.testing.assert_array_equal(value, weights[name])
