"""What metrics must have in common to be merged, and live parts of configs."""

import keras


def check_mergeable(metric, metrics, attributes=()):
    """Checks all metrics before the first of them is merged.

    Args:
        metric: the metric that takes in the others.
        metrics: iterable of metrics.
        attributes: names of attributes that must be equal. One that is `None`
            is not known yet, and agrees with all.

    Returns:
        List of the metrics.
    """
    if not hasattr(metrics, "__iter__"):
        raise ValueError(
            "`metrics` must be a list of metrics. Received: metrics="
            f"{metrics!r}"
        )
    metrics = list(metrics)
    for other in metrics:
        if type(other) is not type(metric):
            raise ValueError(
                f"`metrics` must all be {type(metric).__name__}. "
                f"Received: {other!r}"
            )
    for name in attributes:
        values = [getattr(m, name) for m in [metric, *metrics]]
        if len({value for value in values if value is not None}) > 1:
            raise ValueError(
                f"`metrics` must agree in `{name}`, with each other and with "
                f"this one. Received: {name}={values[1:]}, here {values[0]}"
            )
    return metrics


def deserialize_entry(config, name):
    """A config whose entry `name` is an object again: network or scorer."""
    part = keras.saving.deserialize_keras_object(config[name])
    return {**config, name: part}
