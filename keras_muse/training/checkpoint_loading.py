"""Weights out of a checkpoint, for a model that is not trained further."""

from keras_muse.files.damage import reading
from keras_muse.runtime.checks import show
from keras_muse.training import saved_variables
from keras_muse.training.saved_variables import WEIGHTS


def load_checkpoint(model, path):
    """Loads the weights of a checkpoint into a model.

    They are read into the model's layout, whichever they were saved in, and
    cast to its dtype. What the checkpoint has of other models, such as the
    discriminator of a tokenizer, is left out, and so is the optimizer.

    Args:
        model: a model that is built, of the name that it was saved under:
            where that was not its default, pass `name` to the model.
        path: string or path. A checkpoint: one of those that
            `keras_muse.training.Checkpoint` wrote, as `"run/3000"`, or what
            `average_checkpoints` made of them. The directory of a training,
            as `"run"`, stands for its newest whole checkpoint.

    Raises:
        ValueError: if there is no whole checkpoint, or it is damaged, has
            numbers that are not finite, or is of another architecture; the
            model is left as it was.

    Example:

    ```python
    import tempfile

    import keras
    import numpy as np

    import keras_muse

    def make_model():
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

    model = make_model()
    model.compile("adam", loss="mse")
    x, y = np.zeros((8, 2)), np.zeros((8, 1))
    directory = tempfile.mkdtemp()
    checkpoint = keras_muse.training.Checkpoint(directory)
    model.fit(x, y, callbacks=[checkpoint], verbose=0)

    trained = make_model()
    keras_muse.training.load_checkpoint(trained, directory)
    ```
    """
    if not hasattr(model, "variables"):
        raise ValueError(
            f"`model` must be a model. Received: model={show(model)}"
        )
    directory = find_checkpoint(path) / WEIGHTS
    variables = saved_variables.by_name(model.variables)
    if not variables:
        raise ValueError(
            "`model` must be built. Received: "
            f"model={model.name!r}, without weights"
        )
    saved_variables.check(directory, variables, may_have_more=True)
    saved_variables.restore(directory, variables)


def find_checkpoint(path):
    """The checkpoint at a path, or the newest whole one in it."""
    directory = saved_variables.full_path(path)
    if (directory / WEIGHTS).exists():
        return directory
    ocp = saved_variables.orbax()
    with reading(directory):
        steps = ocp.utils.checkpoint_steps(directory)
    if not steps:
        raise ValueError(
            f"`path` must hold a whole checkpoint. Received: {str(path)!r}"
        )
    return directory / str(max(steps))
