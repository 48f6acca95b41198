"""What `fit` does for a stream of batches, which has an order of its own."""

import itertools


def is_stream(x):
    """Whether `x` is a `keras_muse.data` stream, known by what it has."""
    return hasattr(x, "step") and hasattr(x, "steps_per_epoch")


def fit_options(model, stream, options):
    """Options of `keras.Model.fit` under which a stream keeps its order.

    Args:
        model: a compiled `keras.Model`. It is built, where it is not: Keras
            would take a batch from the loaders for that, and hand out later
            what they had read ahead of it.
        stream: the `x` of `fit`.
        options: dict. The keyword arguments that the user gave to `fit`.

    Returns:
        The dict, changed: batches inside an epoch are not permuted, and
        `steps_per_epoch` is the stream's affair.
    """
    options = dict(options)
    steps_per_epoch = options.pop("steps_per_epoch", None)
    if steps_per_epoch is not None:
        if steps_per_epoch < 1:
            raise ValueError(
                "`steps_per_epoch` must be positive. Received: "
                f"steps_per_epoch={steps_per_epoch}"
            )
        stream.steps_per_epoch = steps_per_epoch
    # Keras counts whole epochs, also if the last `fit` was broken off.
    stream.resume(stream.step)
    if model.compiled:
        first = ((0, 0, [stream[i]]) for i in itertools.count())
        model._symbolic_build(iterator=first)
    return {**options, "shuffle": False}
