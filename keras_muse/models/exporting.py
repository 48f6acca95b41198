"""Models as artifacts for inference, through the exporters of Keras."""

import keras


class SeenInputs:
    """Of which shapes and dtypes the first inputs of a model were.

    Keras takes them from `build`, which here needs no inputs.
    """

    def __init__(self):
        self._spec = None

    def look(self, inputs, known=None):
        """Remembers the first inputs.

        Args:
            inputs: tensor or dict of tensors.
            known: dict of `Input` or `None`. Those of a dict, of which the
                ones count that must be there.
        """
        if known is not None:
            inputs = {
                name: inputs[name]
                for name, spec in known.items()
                if not spec.is_optional
            }
        self._spec = keras.tree.map_structure(_spec, inputs)

    @property
    def signature(self):
        """List of the one argument of `call`, for any number of rows."""
        return None if self._spec is None else [self._spec]


def _spec(x):
    return keras.InputSpec(
        shape=(None, *x.shape[1:]),
        dtype=keras.backend.standardize_dtype(x.dtype),
    )


def check_format(model, format):
    """Refuses the format of TensorFlow on Torch, of which Keras makes none."""
    if keras.config.backend() == "torch" and format == "tf_saved_model":
        raise ValueError(
            "`format` on the Torch backend must be another, such as 'torch': "
            "Keras converts no such model to TensorFlow there. Received: "
            f"format={format!r}, a {type(model).__name__}"
        )


def check_sizes(shape):
    """Refuses pictures of any size, of which Keras makes one pixel.

    Args:
        shape: tuple, of pictures.
    """
    if None in tuple(shape)[1:]:
        raise ValueError(
            "`input_signature` must have the size of the pictures: artifacts "
            "of any size are made in the format 'tf_saved_model' alone. "
            f"Received: pictures of shape {tuple(shape)}"
        )


def of_any_size(shape, factor):
    """The shape of pictures as the exporter of JAX wants it.

    Of sides that come later it must know that the factor divides them.

    Args:
        shape: tuple `(batch, height, width, 3)`, in which `None` is any.
        factor: int. The downsampling factor of a tokenizer.

    Returns:
        string.
    """
    names = ("batch", f"{factor}*height", f"{factor}*width", "channels")
    sides = [
        name if side is None else str(side)
        for side, name in zip(shape, names, strict=True)
    ]
    return f"({', '.join(sides)})"


def check_signature(model, signature):
    """Refuses a model of which no shape is known."""
    if signature is None:
        raise ValueError(
            "`input_signature` must be given, or the model called once "
            "before. Received: input_signature=None, a "
            f"{type(model).__name__} that was never called"
        )
