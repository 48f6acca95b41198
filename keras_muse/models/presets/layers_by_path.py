"""All layers of a model by their places in it."""


def layers_by_path(model):
    """The built layers of a model, the inner ones too.

    Args:
        model: a `keras.Model`.

    Returns:
        Dict of layers by their paths, without the model's own name.
    """
    return {
        layer.path.split("/", 1)[-1]: layer
        for layer in model._flatten_layers(include_self=False)
        # What is said to be built, but never was, has no path.
        if layer.built and layer.path
    }
