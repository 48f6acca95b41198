"""Low-rank additions to the weights of a model, and their files.

The layers have LoRA from Keras. What is here chooses them and keeps the
additions of all of them in one file, each under its layer's path: so a file
says by itself which layers it is for, and is refused where it does not fit.
"""

import h5py
import keras
from keras import ops

from keras_muse.files.damage import check_numbers
from keras_muse.files.damage import reading
from keras_muse.files.hdf5 import open_hdf5
from keras_muse.files.space import check_space
from keras_muse.files.space import hdf5_size
from keras_muse.files.whole import write_whole_file
from keras_muse.models.presets.layers_by_path import layers_by_path
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_path
from keras_muse.runtime.checks import show

SUFFIX = ".lora.h5"
PARTS = ("lora_kernel_a", "lora_kernel_b")


def enable_lora(model, rank, target_layer_names):
    """Freezes a model and adds trainable matrices to some of its layers.

    Args:
        model: a built `keras.Model`.
        rank: int, at least 1.
        target_layer_names: sequence of strings. Names of `Dense` layers.

    Raises:
        ValueError: if there are additions already, or a name matches none.
    """
    rank = check_int(rank, "rank")
    layers = _dense_layers(model)
    known = sorted({layer.name for layer in layers.values()})
    names = _names(target_layer_names)
    unknown = [n for n in names if not isinstance(n, str) or n not in known]
    if unknown or not names:
        raise ValueError(
            f"`target_layer_names` must be a list of names out of {known}, the "
            f"`Dense` layers of {type(model).__name__}. Received: "
            f"target_layer_names={show(target_layer_names)}, without a layer: "
            f"{unknown}"
        )
    _add_to_layers(
        model, rank, [layer for layer in layers.values() if layer.name in names]
    )


def _names(target_layer_names):
    """The names as a list, as a generator gives them once; else none."""
    try:
        is_name = isinstance(target_layer_names, str)
        return [] if is_name else list(target_layer_names)
    except TypeError:
        return []


def save_lora_weights(model, filepath):
    """Writes the additions alone; the file appears whole or not at all.

    Args:
        model: a model with LoRA.
        filepath: string or path that ends in `.lora.h5`.

    Raises:
        ValueError: if there is no LoRA, or for another ending.
    """
    filepath = _check_filepath(filepath)
    layers = _lora_layers(model)
    if not layers:
        raise ValueError(
            "There is nothing to save before `enable_lora`. Received: a "
            f"{type(model).__name__} without LoRA"
        )
    parts = [
        getattr(layer, part) for layer in layers.values() for part in PARTS
    ]
    with write_whole_file(filepath) as temporary:
        check_space(temporary, hdf5_size(parts))
        with h5py.File(temporary, "w") as file:
            file.attrs["model"] = _kind(model)
            for path, layer in layers.items():
                for part in PARTS:
                    value = ops.convert_to_numpy(getattr(layer, part))
                    file[f"{path}/{part}"] = value


def load_lora_weights(model, filepath):
    """Reads what `save_lora_weights` wrote.

    A model without LoRA gets it, in the layers and of the rank of the file.

    Args:
        model: a built `keras.Model`.
        filepath: string or path that ends in `.lora.h5`.

    Raises:
        ValueError: if the file cannot be read, or is for other layers, widths
            or another rank; they are named, and the model stays as it was.
    """
    filepath = _check_filepath(filepath)
    try:
        additions = _read(filepath, model)
    except ValueError as error:
        raise ValueError(
            f"`filepath` cannot be loaded: {error}. Received: "
            f"filepath={filepath!r}"
        ) from error
    layers = _lora_layers(model) or _dense_layers(model)
    if not _lora_layers(model):
        rank = next(iter(additions.values()))[0].shape[-1]
        _add_to_layers(model, rank, [layers[path] for path in additions])
    for path, values in additions.items():
        for part, value in zip(PARTS, values, strict=True):
            getattr(layers[path], part).assign(value)


def has_lora(model):
    """Whether a model has low-rank additions."""
    return bool(_lora_layers(model))


def _add_to_layers(model, rank, layers):
    """LoRA in these layers; nothing else of the model trains any more."""
    if _lora_layers(model):
        raise ValueError(
            "LoRA can be enabled only once; load the model again for another "
            f"rank or other layers. Received: rank={rank}"
        )
    model.trainable = True
    model.compiled = False  # its optimizer has slots for other weights
    for layer in layers_by_path(model).values():
        layer.trainable = False
    for layer in layers:
        layer.trainable = True
        layer.enable_lora(rank)
        for variable in layer.variables:  # a bias, too, is not in the file
            variable.trainable = variable.name in PARTS


def _kind(model):
    """Tells models apart whose layers may have the same paths."""
    return f"{type(model).__name__} of {len(_dense_layers(model))} Dense layers"


def _dense_layers(model):
    """The `Dense` layers by their paths inside the model."""
    return {
        path: layer
        for path, layer in layers_by_path(model).items()
        if isinstance(layer, keras.layers.Dense)
    }


def _lora_layers(model):
    return {
        path: layer
        for path, layer in _dense_layers(model).items()
        if layer.lora_enabled
    }


def _shapes(layer, rank):
    """Shapes of the two matrices of a layer."""
    input_dim, output_dim = layer.kernel.shape
    rank = layer.lora_rank or rank
    return (input_dim, rank), (rank, output_dim)


def _read(filepath, model):
    """Pairs of matrices by the path of their layer, that fit a model.

    Shapes and types are looked at before any number is read.
    """
    with open_hdf5(filepath) as file, reading(filepath, "does not fit"):
        found = _datasets(file)
        _check_matrices(found)
        _check_kind(file, model)
        _check_fit(found, model)
        return {
            path: tuple(_finite(pair[part]) for part in PARTS)
            for path, pair in found.items()
        }


def _check_kind(file, model):
    kind = file.attrs.get("model")
    if kind != _kind(model):
        raise ValueError(f"it is for a {kind}, not for a {_kind(model)}")


def _datasets(file):
    """Dict of pairs of datasets, by the path of their layer."""
    found = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            path, _, part = name.rpartition("/")
            found.setdefault(path, {})[part] = item

    file.visititems(collect)
    return found


def _check_matrices(found):
    wrong = [
        path
        for path, pair in found.items()
        if set(pair) != set(PARTS)
        or any(x.ndim != 2 or x.dtype.kind != "f" for x in pair.values())
    ]
    if wrong or not found:
        raise ValueError(
            "it must hold the two matrices of each layer, as "
            f"`save_lora_weights` writes them; of {wrong} it has others"
        )


def _check_fit(found, model):
    layers = _lora_layers(model)
    # A model with LoRA takes all that it has from the file.
    missing = layers.keys() - found.keys()
    layers = layers or _dense_layers(model)
    wrong = [f"{path} (not in the file)" for path in sorted(missing)]
    rank = next(iter(found.values()))[PARTS[0]].shape[-1]
    for path, pair in found.items():
        if path not in layers:
            wrong.append(f"{path} (not in the model)")
            continue
        shapes = tuple(pair[part].shape for part in PARTS)
        needed = _shapes(layers[path], rank)
        if shapes != needed or 0 in shapes[0]:
            a, b = shapes
            wrong.append(f"{path} ({a}, {b} instead of {needed})")
    if wrong:
        raise ValueError(
            f"it does not fit this {type(model).__name__}, first in "
            f"{wrong[:3]}, {len(wrong)} layer(s) in all"
        )


def _finite(dataset):
    value = dataset[()]
    check_numbers(value, dataset.name)
    return value


def _check_filepath(filepath):
    filepath = check_path(filepath, "filepath")
    if not filepath.endswith(SUFFIX):
        raise ValueError(
            f"`filepath` must end in {SUFFIX}. Received: filepath={filepath!r}"
        )
    return filepath
