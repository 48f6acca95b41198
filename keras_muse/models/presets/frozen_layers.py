"""Which layers of a model are frozen, as its configuration says.

Keras keeps of a subclassed model whether all of it is. One that has frozen
layers would come back with all of them in training, and without the state of
its optimizer, which has fewer variables then.
"""

from keras_muse.models.presets.layers_by_path import layers_by_path


def describe(model):
    """Paths inside the model of what is frozen; not of what is inside that."""
    if not model.trainable:
        return []
    layers = layers_by_path(model)
    frozen = {path for path, layer in layers.items() if not layer.trainable}
    return [
        path
        for path in layers
        if path in frozen and path.rpartition("/")[0] not in frozen
    ]


def restore(model, paths):
    """Freezes what `describe` named, where the model has it."""
    layers = layers_by_path(model) if paths else {}
    for path in paths:
        if path in layers:
            layers[path].trainable = False
