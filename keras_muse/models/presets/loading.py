"""Models from presets and to presets, in KerasHub's format."""

import contextlib
import inspect
import math
import os

import keras
import numpy as np

from keras_muse.files import hub
from keras_muse.files.damage import reading
from keras_muse.files.hdf5 import check_weights
from keras_muse.files.json_files import check_entries
from keras_muse.files.json_files import check_file_name
from keras_muse.files.whole import write_whole
from keras_muse.layers import initializers
from keras_muse.models.presets import compact_weights
from keras_muse.models.presets import published
from keras_muse.models.presets import transfer
from keras_muse.models.presets.architectures import ARCHITECTURES
from keras_muse.models.presets.architectures import BUNDLED
from keras_muse.runtime.checks import check_ints
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.checks import check_path
from keras_muse.runtime.checks import show
from keras_muse.runtime.variables import without_values

MUSE_FILE = "muse.json"
MUSE_NAME = "keras_muse>Muse"
# Arguments for which weights of other shapes are made, and such as change no
# weight.
SHAPING = ("codebook_size", "low_res_codebook_size", "text_dim")
GRIDS = ("grid_size", "low_res_grid_size")
NO_STRUCTURE = ("name", "dtype", "trainable", "vocabulary", "sequence_length")


def load_model(cls, preset, load_weights, kwargs):
    """A model from a preset; see `MuseModel.from_preset`.

    Args:
        cls: class of the model.
        preset: string.
        load_weights: bool.
        kwargs: dict. Constructor arguments to override.
    """
    check_options(cls, kwargs)
    preset = check_path(preset, "preset")
    if preset in ARCHITECTURES:
        return _from_architecture(cls, preset, load_weights, kwargs)
    names = [
        n for n, (kind, _) in ARCHITECTURES.items() if kind == cls.__name__
    ]
    check_place(preset, [*BUNDLED, *names])
    directory = local_directory(preset, cls)
    found = published.find(directory, cls.converters, cls.__name__)
    changes = _shape_changes(_saved_config(directory, found, cls), kwargs)
    if load_weights and changes:
        same = {k: v for k, v in kwargs.items() if k not in changes}
        source = load_model(cls, preset, load_weights, same)
        return transfer.transfer(source, changes)
    if found is not None:
        return published.load(cls, directory, found, load_weights, kwargs)
    saved_class = own_class(directory)
    if not issubclass(saved_class, cls):
        raise ValueError(
            f"`preset` holds a `{saved_class.__name__}`, not a "
            f"`{cls.__name__}`. Received: preset={preset!r}"
        )
    try:
        return load_own(saved_class, directory, load_weights, kwargs)
    except ValueError as error:
        if f"preset={directory!r}" in str(error):
            raise
        raise ValueError(f"{error}. Received: preset={preset!r}") from error


# === Presets of this package ===


def own_class(directory):
    """The class of the model in a preset of this package.

    Args:
        directory: string. A directory or a handle.
    """
    name = hub.read_json(directory, registered_name=str, config=dict)
    cls = keras.saving.get_registered_object(name["registered_name"])
    if not isinstance(cls, type):
        raise ValueError(
            f"`preset` holds a model of type {name['registered_name']!r}, "
            f"which is unknown. Received: preset={directory!r}"
        )
    return cls


def load_own(cls, directory, load_weights, kwargs):
    """A model from a preset of this package.

    Args:
        cls: class of the model, as `own_class` gives it.
        directory: string. A directory or a handle.
        load_weights: bool.
        kwargs: dict. Constructor arguments to override.
    """
    if load_weights:
        _check_same_weights(cls, directory, kwargs)
    config_file = hub.local_file(directory, hub.CONFIG_FILE)
    with (
        reading(config_file, published.no_model(kwargs)),
        initializers.skip_random_weights(load_weights),
    ):
        model = hub.loader(directory).load_backbone(cls, False, **kwargs)
    if load_weights and hub.has_file(directory, compact_weights.FILE):
        compact_weights.load(model, directory)
    elif load_weights:
        files = hub.weight_files(directory)
        for file in files:
            if not file.endswith(".json"):
                check_weights(file, largest_variable(model))
        with reading(files[0], "cannot be loaded into the model"):
            hub.load_weights(model, files[0])
    return model


def largest_variable(model):
    """Bytes of the largest variable of a model, if it were in 64 bits."""
    return 8 * max(math.prod(v.shape) for v in model.variables)


def check_options(cls, options):
    """Refuses options of `from_preset` that no constructor takes.

    Args:
        cls: class of the model, or one that models inherit from.
        options: dict.
    """
    known = {"name", "dtype", "trainable"}
    for one in (cls, *cls.__subclasses__()):
        known |= set(inspect.signature(one.__init__).parameters)
    known -= {"self", "kwargs", "inputs", "outputs"}
    if unknown := sorted(set(options) - known):
        raise ValueError(
            f"`from_preset` takes arguments of {cls.__name__} only, "
            f"{sorted(known)}. Received: {', '.join(unknown)}"
        )


def _from_architecture(cls, name, load_weights, kwargs):
    class_name, config = ARCHITECTURES[name]
    if class_name != cls.__name__:
        raise ValueError(
            f"`preset` is an architecture of `{class_name}`, not of "
            f"`{cls.__name__}`. Received: preset={name!r}"
        )
    if load_weights:
        raise ValueError(
            "`preset` names an architecture whose weights were never "
            "published: pass `load_weights=False` for random ones. "
            f"Received: preset={name!r}, load_weights=True"
        )
    return cls(**{**config, **kwargs})


def save_model(model, preset_dir, max_shard_size):
    """Writes a model as a preset; see `MuseModel.save_to_preset`."""
    preset_dir = check_path(preset_dir, "preset_dir")
    check_shard_size(max_shard_size)
    with write_whole(preset_dir) as directory, _detached_optimizer(model):
        hub.saver(directory).save_backbone(model, max_shard_size=max_shard_size)


def check_shard_size(max_shard_size):
    """Refuses what is no size of a weight file; `None` is one file."""
    if max_shard_size is not None:
        check_number(max_shard_size, "max_shard_size", low=0, open_at="low")


@contextlib.contextmanager
def _detached_optimizer(model):
    """Keras saves the optimizer of a compiled model with its weights."""
    optimizer = getattr(model, "optimizer", None)
    model.optimizer = None
    try:
        yield
    finally:
        model.optimizer = optimizer


def local_directory(preset, cls):
    """A local directory with the files of a model, fetched if need be.

    In a `Muse` preset it is the first part that is of class `cls`.
    """
    preset = BUNDLED.get(preset, preset)
    if not is_muse(preset):
        return preset
    parts = read_parts(preset)["parts"]
    for name, part in parts.items():
        if part["class_name"] == cls.__name__ and "files" in part:
            return fetch_part(preset, name, part)
    raise ValueError(
        f"`preset` is a Muse without a {cls.__name__}; it has "
        f"{sorted(part['class_name'] for part in parts.values())}. "
        f"Received: preset={preset!r}"
    )


def is_muse(preset):
    """Whether a preset is a whole `Muse`.

    `muse.json` stays where another model was saved over it.
    """
    names = "", MUSE_NAME
    return (
        hub.has_file(preset, MUSE_FILE)
        and published.registered_name(preset) in names
    )


def read_parts(preset):
    """What `muse.json` says, of which the names and types are checked."""
    contents = hub.read_json(preset, MUSE_FILE, format_version=int, parts=dict)
    path = os.path.join(preset, MUSE_FILE)
    for name, part in contents["parts"].items():
        check_file_name(name, path)
        kinds = {"class_name": str}
        if isinstance(part, dict) and "preset" in part:
            kinds |= {"preset": str, "sequence_length": int}
            part.setdefault("options", {})
            kinds["options"] = dict
        else:
            kinds["files"] = list
        check_entries(part, path, f"the part {name!r}", **kinds)
        for file in part.get("files", ()):
            for one in str(file).split("/"):
                check_file_name(one, path)
    return contents


def fetch_part(preset, name, part):
    """The local directory of one part of a `Muse` preset."""
    try:
        for file in part["files"]:
            hub.local_file(preset, f"{name}/{file}")
    except FileNotFoundError as error:
        raise ValueError(
            f"The part {name!r} of `preset` is not whole: {error} "
            f"Received: preset={preset!r}"
        ) from error
    config_file = f"{name}/{hub.CONFIG_FILE}"
    return os.path.dirname(hub.local_file(preset, config_file))


def check_place(preset, names):
    """Refuses a preset that is no name, and cannot be a place.

    Args:
        preset: string.
        names: sequence of strings. Those that are known.
    """
    if preset in names or "://" in preset or os.path.exists(preset):
        return
    raise ValueError(
        "`preset` must be a directory that exists, a handle such as "
        f"'hf://user/model', or one of {sorted(names)}. Received: "
        f"preset={preset!r}"
    )


def check_has_config(preset, cls):
    """Refuses a place where neither a configuration nor a known file is.

    Args:
        preset: string. A directory, a file or a handle.
        cls: class of the model.
    """
    if hub.has_file(preset, hub.CONFIG_FILE):
        return
    alone = ""
    if "taming" in cls.converters:
        alone = (
            ", one `.ckpt` with its YAML, one `.pt` of LlamaGen or one "
            "`tokenizer_*_checkpoint` of MaskGIT"
        )
    if "://" in preset:
        problem = (
            f"has no {hub.CONFIG_FILE}; what others publish without one is "
            "read from local paths only"
        )
    elif os.path.isfile(preset):
        problem = (
            "is a file, and must be a directory with a "
            f"{hub.CONFIG_FILE}{alone}"
        )
    else:
        problem = f"is a directory without a {hub.CONFIG_FILE}{alone}"
    raise ValueError(
        f"`preset` {problem}, of which a {cls.__name__} is made. Received: "
        f"preset={preset!r}"
    )


def _saved_config(directory, found, cls):
    """Constructor arguments of what lies there, as a dict."""
    if found is not None:
        return found.constructor_arguments()
    check_has_config(directory, cls)
    return hub.read_json(directory, config=dict)["config"]


def _shape_changes(config, kwargs):
    """Those of `kwargs` that differ from `config` in what shapes weights."""
    return {
        name: value
        for name, value in kwargs.items()
        if (name in SHAPING and value != config.get(name))
        or (
            name in GRIDS
            and check_ints(value, name, length=2)
            != tuple(config.get(name) or ())
        )
    }


def _check_same_weights(cls, directory, kwargs):
    """Refuses changes by which a model has other weights than its file.

    Keras says nothing of weights that find no place, and of all others it
    blames the file.
    """
    config = hub.read_json(directory, config=dict)["config"]
    changed = {
        name: value
        for name, value in kwargs.items()
        if name not in (*NO_STRUCTURE, *SHAPING, *GRIDS)
        and not np.array_equal(value, config.get(name))
    }
    if not changed:
        return
    # Compared as they are before they are quantized.
    config = {k: v for k, v in config.items() if k != "quantization"}
    config["dtype"] = "float32"
    place = os.path.join(directory, hub.CONFIG_FILE)
    with reading(place, published.no_model(changed)), without_values():
        saved, needed = (
            _shapes(cls.from_config(x)) for x in (config, {**config, **changed})
        )
    if saved == needed:
        return
    if lost := sorted(saved.keys() - needed.keys()):
        problem = f"leave out {len(lost)} of the weights that are saved"
    elif lost := sorted(needed.keys() - saved.keys()):
        problem = f"need {len(lost)} weights that are not saved"
    else:
        lost = [path for path in saved if saved[path] != needed[path]]
        problem = f"give {len(lost)} of the weights another shape"
    raise ValueError(
        f"{' and '.join(f'`{name}`' for name in changed)} would {problem}, "
        f"such as {lost[0]}; with `load_weights=False` all are random. "
        f"Received: {', '.join(f'{k}={show(v)}' for k, v in changed.items())}, "
        f"preset={directory!r}"
    )


def _shapes(model):
    """Shapes of the weights of a model by their paths inside it."""
    return {
        # Those of a functional model do not begin with its name.
        variable.path.removeprefix(f"{model.name}/"): tuple(variable.shape)
        for variable in model.weights
    }
