"""Which layers of a model are quantized, and how, as its configuration says.

Keras quantizes layer by layer, as modes, `config` and `filters` tell it. The
file of a quantized model can only be loaded into one that is quantized alike;
so the configuration names the layers, where they are not simply all.
"""

import contextlib
import gc
import json
import re
import warnings

import keras

from keras_muse.models.presets.layers_by_path import layers_by_path

MODES = ("int8", "int4")


def quantize(model, keras_quantize, config, filters):
    """Quantizes a model; at least one layer of it changes.

    Other modes of Keras are refused: float8 is for training, and takes more
    memory than it saves; GPTQ and AWQ need blocks that Keras can call one
    after the other, and would stop halfway.

    Args:
        model: a built `keras.Model`.
        keras_quantize: `keras.Model.quantize` of that model.
        config: `keras.quantizers.QuantizationConfig`.
        filters: as `keras.Model.quantize` takes them, or `None`.

    Raises:
        ValueError: for another mode than int8 or int4, if a layer is
            quantized already, if none can be, or `filters` match none.
    """
    check_mode(config.mode)
    quantized = _quantized(model)
    chosen = _chosen_by(filters)
    again = [path for path, layer in quantized.items() if chosen(layer)]
    if again:  # Keras would stop at the first of them, halfway
        raise ValueError(
            f"A layer is quantized only once. Received: mode={config.mode!r}, "
            f"filters={filters!r}, with {len(again)} already quantized "
            f"layer(s), first in {again[:3]}"
        )
    with warnings.catch_warnings():
        # Norms and convolutions stay as they are; Keras warns of each.
        warnings.filterwarnings("ignore", ".*not have a `quantize` method.*")
        with _one_collection():
            keras_quantize(config.mode, config=config, filters=chosen)
    if len(_quantized(model)) == len(quantized):
        raise ValueError(
            f"{type(model).__name__} has no layer to quantize: only `Dense` "
            f"and `Embedding` layers can be. Received: filters={filters!r}"
        )


def _chosen_by(filters):
    """The function of a layer that Keras' forms of `filters` stand for."""
    if callable(filters):
        return filters
    patterns = [filters] if isinstance(filters, str) else filters
    try:
        patterns = patterns and [re.compile(pattern) for pattern in patterns]
    except (re.error, TypeError) as error:
        raise ValueError(
            "`filters` must be a regular expression, a list of them or a "
            f"function. Received: filters={filters!r}"
        ) from error
    return lambda layer: (
        patterns is None
        or any(re.search(pattern, layer.name) for pattern in patterns)
    )


@contextlib.contextmanager
def _one_collection():
    """Lets Keras search for garbage once, and not after each layer.

    Old weights are freed without it, and it takes most of the time.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.collect()


def check_mode(mode):
    """Refuses other modes of Keras."""
    if mode not in MODES:
        raise ValueError(
            f"`mode` must be one of {MODES}. Received: mode={mode!r}"
        )


def is_quantized(model):
    """Whether any layer of a model is."""
    return bool(_quantized(model))


def describe(model):
    """What `restore` needs, empty for a model that is not quantized.

    Returns:
        List of dicts: `"config"`, a serialized `QuantizationConfig`, and
        `"layers"`, the paths of the layers inside the model that have it, or
        `None` where all layers that can be quantized do.
    """
    groups = {}
    quantized = _quantized(model)
    for path, layer in quantized.items():
        config = keras.saving.serialize_keras_object(layer.quantization_config)
        groups.setdefault(json.dumps(config), []).append(path)
    if len(groups) == 1 and len(quantized) == len(_quantizable(model)):
        groups = dict.fromkeys(groups)
    return [
        {"config": json.loads(config), "layers": layers}
        for config, layers in groups.items()
    ]


def restore(model, groups):
    """Quantizes a model of random weights as `describe` says."""
    for group in groups:
        config = keras.saving.deserialize_keras_object(group["config"])
        filters = None
        if group["layers"] is not None:
            layers = _quantizable(model)
            chosen = {id(layers[path]) for path in group["layers"]}
            filters = lambda layer, chosen=chosen: id(layer) in chosen  # noqa: E731
        model.quantize(config.mode, config=config, filters=filters)


def _quantizable(model):
    """Layers that Keras can quantize, by their paths inside the model."""
    kinds = (keras.layers.Dense, keras.layers.Embedding)
    return {
        path: layer
        for path, layer in layers_by_path(model).items()
        if type(layer) in kinds
    }


def _quantized(model):
    return {
        path: layer
        for path, layer in _quantizable(model).items()
        if layer.quantization_mode is not None
    }
