"""Weights of a trained model, carried to one of other shapes."""

import keras
from keras import ops

from keras_muse.runtime.messages import say


def transfer(source, changes):
    """A model like `source` with a changed configuration, keeping its weights.

    Weights of the same shape are copied, learned 2-D positions are
    interpolated to the new grid. Where a weight has another shape, its layer
    starts afresh and is named in a message.

    Args:
        source: a `MuseBase`, `MuseSuperRes` or `VQGANTokenizer`.
        changes: dict. Constructor arguments that differ.

    Returns:
        A new model of the same class.
    """
    # What starts afresh is to be trained.
    unfrozen = {**source.get_config(), "frozen": ()}
    target = source.from_config({**unfrozen, **changes})
    pairs = list(zip(source.weights, target.weights, strict=True))
    fresh_layers = {
        _layer_path(new)
        for old, new in pairs
        if old.shape != new.shape and new.name != "positions"
    }
    for old, new in pairs:
        if _layer_path(new) in fresh_layers:
            continue
        if new.name == "micro_conditions" and "grid_size" in changes:
            continue  # they tell the size of the picture
        if old.shape != new.shape:
            old = interpolate_positions(old, new.shape[:2])
        new.assign(old)
    say(
        f"{type(source).__name__}.from_preset: started afresh: "
        f"{', '.join(sorted(fresh_layers)) or 'nothing'}"
    )
    return target


def _layer_path(weight):
    layer, _, _ = weight.path.rpartition("/")
    # A weight that no layer owns but the model is a group of its own.
    return layer if "/" in layer else weight.path


def interpolate_positions(positions, grid_size):
    """Resizes learned 2-D positions, bilinearly.

    Args:
        positions: float tensor of shape `(height, width, hidden_dim)`.
        grid_size: pair of ints, the new `(height, width)`.

    Returns:
        Float tensor of shape `(*grid_size, hidden_dim)`.
    """
    return ops.image.resize(
        keras.ops.convert_to_tensor(positions),
        tuple(grid_size),
        interpolation="bilinear",
        data_format="channels_last",
    )
