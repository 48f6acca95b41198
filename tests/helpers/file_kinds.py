"""Files of every kind that the package reads, made small and loaded.

A kind has `make`, which writes into a directory, and `load`, which returns the
arrays that are loaded from it, by their names.
"""

import json
import shutil

import keras
import msgpack
import numpy as np
import safetensors.numpy
import torch
import yaml

from keras_muse import MuseBase
from keras_muse import T5TextEncoder
from keras_muse.data import read_token_shards
from keras_muse.files.flax_files import FlaxFiles
from keras_muse.files.published_weights import open_keras_weights
from keras_muse.files.published_weights import open_weights
from keras_muse.files.tensors import load_layers
from keras_muse.models import TextEncoder
from keras_muse.models.presets import lora
from keras_muse.models.presets import published
from keras_muse.models.presets.loading import read_parts
from keras_muse.muse.preset import load_defaults
from keras_muse.training import Checkpoint
from keras_muse.training import TimeBudget
from keras_muse.training import average_checkpoints
from keras_muse.training import load_checkpoint
from tests.helpers import tiny
from tests.helpers import tiny_muse
from tests.helpers import token_shards
from tests.models.text_encoders.t5_text_encoder_test import train_vocabulary

GENERATOR = np.random.default_rng(5)
TENSORS = {
    f"{name}.weight": GENERATOR.standard_normal(shape).astype("float32")
    for name, shape in (("a", (4, 6)), ("b", (6,)), ("c.d", (2, 3, 2)))
}


def make_model(with_lora=False):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, name="one")]
    )
    model.compile("adam", loss="mse")
    model.optimizer.build(model.trainable_variables)
    if with_lora:
        lora.enable_lora(model, 2, ["one"])
        model.layers[0].lora_kernel_b.assign(np.ones((2, 2)))
    return model


def variables(model):
    # By place: a path may name how many models were made before this one.
    return {
        f"{place} {variable.name}": keras.ops.convert_to_numpy(variable)
        for place, variable in enumerate(model.variables)
    }


class Place:
    """What a tensor is loaded into."""

    def __init__(self, shape):
        self.path, self.shape = "place", shape

    def assign(self, value):
        self.value = value


def tensors_of(files, prefix=""):
    places = {f"{prefix}{k}": Place(v.shape) for k, v in TENSORS.items()}
    with files:
        load_layers(files, {k: (p, np.copy) for k, p in places.items()})
    return {name: place.value for name, place in places.items()}


class Safetensors:
    def make(self, directory):
        path = directory / "model.safetensors"
        safetensors.numpy.save_file(TENSORS, path)

    def load(self, directory):
        return tensors_of(open_weights(str(directory)))


class SafetensorsShards(Safetensors):
    def make(self, directory):
        files = {}
        for i, (name, tensor) in enumerate(TENSORS.items()):
            files[name] = f"model-0000{i}-of-00003.safetensors"
            path = directory / files[name]
            safetensors.numpy.save_file({name: tensor}, path)
        index = directory / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": files}))


class Torch(Safetensors):
    is_old = False

    def make(self, directory):
        torch.save(
            {name: torch.tensor(array) for name, array in TENSORS.items()},
            directory / "pytorch_model.bin",
            _use_new_zipfile_serialization=not self.is_old,
        )


class OldTorch(Torch):
    is_old = True


class Flax:
    def make(self, directory):
        tree = {
            name: msgpack.ExtType(
                1, msgpack.packb((x.shape, x.dtype.name, x.tobytes()))
            )
            for name, x in TENSORS.items()
        }
        path = directory / "checkpoint"
        path.write_bytes(msgpack.packb({"params": {"x": tree}}))

    def load(self, directory):
        return tensors_of(FlaxFiles(str(directory / "checkpoint")), "x.")


class KerasWeights:
    def make(self, directory):
        make_model().save_weights(directory / "model.weights.h5")

    def load(self, directory):
        names = ("layers/dense/vars/0", "layers/dense/vars/1")
        with open_keras_weights(str(directory)) as files:
            return {name: files.read(name) for name in names}


class Adapter:
    def __init__(self):
        self.model = make_model(with_lora=True)

    def make(self, directory):
        lora.save_lora_weights(self.model, directory / "a.lora.h5")

    def load(self, directory):
        lora.load_lora_weights(self.model, directory / "a.lora.h5")
        return variables(self.model)


class Budget:
    def __init__(self):
        self.model = make_model()

    def make(self, directory):
        budget = TimeBudget(10, directory, 1e-3)
        budget.set_model(self.model)
        budget.spent = 3.0
        budget._save()

    def load(self, directory):
        budget = TimeBudget(10, directory, 1e-3)
        budget.restore(self.model)
        return {"spent": np.array(budget.spent), **variables(self.model)}


class Averages:
    def make(self, directory):
        for name in ("first", "last"):
            make_model().save_weights(directory / f"{name}.weights.h5")

    def load(self, directory):
        paths = [directory / f"{n}.weights.h5" for n in ("first", "last")]
        path = directory.parent / "average.weights.h5"
        try:
            average_checkpoints(paths, path)
            model = make_model()
            model.optimizer = None
            model.load_weights(path)
            return variables(model)
        finally:
            path.unlink(missing_ok=True)


class OrbaxCheckpoint:
    def __init__(self):
        self.model = make_model()

    def make(self, directory):
        x = np.ones((4, 3)), np.ones((4, 2))
        checkpoint = Checkpoint(directory)
        self.model.fit(*x, callbacks=[checkpoint], verbose=0)

    def load(self, directory):
        load_checkpoint(self.model, directory)
        return variables(self.model)


class OrbaxAverages(OrbaxCheckpoint):
    """Two checkpoints of a training, and their average."""

    def make(self, directory):
        x = np.ones((4, 3)), np.ones((4, 2))
        checkpoint = Checkpoint(directory, save_freq=1, max_to_keep=None)
        self.model.fit(*x, batch_size=2, callbacks=[checkpoint], verbose=0)

    def load(self, directory):
        average = directory.parent / "average"
        try:
            average_checkpoints([directory / "1", directory / "2"], average)
            return super().load(average)
        finally:
            shutil.rmtree(average, ignore_errors=True)


class Resumed(OrbaxCheckpoint):
    """A training that goes on, optimizer and position too."""

    def load(self, directory):
        checkpoint = Checkpoint(directory)
        checkpoint.set_model(self.model)
        checkpoint.set_params({"steps": 1, "epochs": 1})
        try:
            checkpoint.on_train_begin()
        finally:
            checkpoint.close()
        optimizer = {
            f"optimizer/{name}": value
            for name, value in variables(self.model.optimizer).items()
        }
        return {**variables(self.model), **optimizer}


class Shards:
    def make(self, directory):
        rows = token_shards.make_rows(4)
        token_shards.write(rows, str(directory))

    def load(self, directory):
        data = read_token_shards(str(directory), 2, shuffle=False)
        return {
            f"{name}{i}": value
            for i in range(2)
            for name, value in data.batch(i).items()
        }


class WordPieces:
    def make(self, directory):
        encoder = tiny_muse.tiny_text_encoder()
        (directory / "vocabulary.json").write_bytes(encoder._vocabulary)
        self.encoder = encoder

    def load(self, directory):
        self.encoder._set_vocabulary(str(directory / "vocabulary.json"))
        return {}


class SentencePieces:
    def make(self, directory):
        (directory / "vocabulary.spm").write_bytes(train_vocabulary())
        self.encoder = T5TextEncoder(40, 1, 1, 4, 4, sequence_length=4)

    def load(self, directory):
        self.encoder._set_vocabulary(str(directory / "vocabulary.spm"))
        return {}


class Yaml:
    def make(self, directory):
        contents = {
            "model": {
                "target": "taming.models.vqgan.VQModel",
                "params": {
                    "embed_dim": 4,
                    "n_embed": 8,
                    "ddconfig": {
                        "ch": 4,
                        "ch_mult": [1, 2],
                        "num_res_blocks": 1,
                        "resolution": 8,
                        "attn_resolutions": [4],
                        "z_channels": 4,
                        "dropout": 0.0,
                    },
                },
            }
        }
        (directory / "model.yaml").write_text(yaml.safe_dump(contents))

    def load(self, directory):
        found = published.find(str(directory), ["taming"], "VQGANTokenizer")
        if found is not None:
            found.constructor_arguments()
        return {}


class MuseJson:
    def make(self, directory):
        contents = {
            "format_version": 1,
            "parts": {
                "base": {
                    "class_name": "MuseBase",
                    "files": ["config.json", "assets/a.txt"],
                },
                "text_encoder": {
                    "class_name": "T5TextEncoder",
                    "preset": "t5_small",
                    "sequence_length": 8,
                    "options": {"activation": "relu"},
                },
            },
            "generation_defaults": {
                "num_steps": 8,
                "guidance_scale": 3.0,
                "sampler": {"sampler": "confidence"},
            },
        }
        (directory / "muse.json").write_text(json.dumps(contents))

    def load(self, directory):
        read_parts(str(directory))
        load_defaults(str(directory))
        return {}


class Configuration:
    def make(self, directory):
        config = {
            "model_type": "bert",
            "hidden_act": "gelu",
            "vocab_size": 9,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "hidden_size": 8,
            "intermediate_size": 12,
            "max_position_embeddings": 16,
            "layer_norm_eps": 1e-12,
        }
        (directory / "config.json").write_text(json.dumps(config))

    def load(self, directory):
        found = published.find(str(directory), ["bert"], "MiniLMTextEncoder")
        if found is not None:
            found.constructor_arguments()
        return {}


class Preset:
    def make(self, directory):
        tiny_muse.tiny_text_encoder().save_to_preset(str(directory))

    def load(self, directory):
        return variables(TextEncoder.from_preset(str(directory)))


class BasePreset(Preset):
    def make(self, directory):
        base = tiny.tiny_base(random_weights=False, num_layers=1)
        base.save_to_preset(str(directory))

    def load(self, directory):
        return variables(MuseBase.from_preset(str(directory)))


class PresetInShards(Preset):
    def make(self, directory):
        tiny_muse.tiny_text_encoder().save_to_preset(
            str(directory), max_shard_size=1e-6
        )
