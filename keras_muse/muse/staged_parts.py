"""Parts of a `Muse` that are in memory only while they are needed."""

import contextlib
import gc

import keras

from keras_muse.runtime.variables import free
from keras_muse.runtime.variables import move
from keras_muse.runtime.variables import without_values

WORK = ("encode", "generate", "decode")


def stage_parts(loaders):
    """Parts that share the memory of one.

    Args:
        loaders: dict of functions, from `muse_preset.part_loaders`.

    Returns:
        A dict of `StagedPart` by the same names.
    """
    parts = []
    return {name: StagedPart(load, parts) for name, load in loaders.items()}


def check_not_staged(parts):
    """Refuses to save, change or count what holds no weights of its own."""
    for name, part in parts.items():
        if isinstance(part, StagedPart):
            raise ValueError(
                "A `Muse` that was loaded with `staged=True` cannot be saved, "
                "quantized or summed up; copy the preset it was loaded from, "
                f"or load it without. Received: a staged {name!r}"
            )


class StagedPart:
    """Stands for a part of a `Muse` and loads its weights when it works.

    Its attributes are those of the part, known from the configuration alone.
    Weights stay until another part needs the memory: so a part that is used
    again and again, as by previews, is loaded once.

    Args:
        load: function that loads the part from its preset; it takes
            `load_weights`.
        parts: list of the other parts that share the memory; this one joins
            it.

    Example:
    ```python
    muse = keras_muse.Muse.from_preset("my_muse", staged=True)
    text_embeddings, text_mask = muse.text_encoder.encode("a red apple")
    muse.text_encoder.release()
    ```
    """

    def __init__(self, load, parts):
        self._load = load
        self._parts = parts
        self._num_uses = 0
        self._model = None
        self._shell = _shell_of(load)
        parts.append(self)

    def encode(self, *args, **kwargs):
        """`encode` of the text encoder or the tokenizer."""
        with self._loaded() as model:
            return model.encode(*args, **kwargs)

    def generate(self, *args, **kwargs):
        """`generate` of the transformer."""
        with self._loaded() as model:
            return model.generate(*args, **kwargs)

    def decode(self, *args, **kwargs):
        """`decode` of the tokenizer."""
        with self._loaded() as model:
            return model.decode(*args, **kwargs)

    def release(self):
        """Frees the weights, unless the part is at work."""
        if self._num_uses or self._model is None:
            return
        if self._model is self._shell:
            free(self._shell.variables)
        self._model = None
        gc.collect()  # models are full of cycles

    @contextlib.contextmanager
    def _loaded(self):
        if self._model is None:
            for part in self._parts:
                part.release()
            self._model = self._load()
            if keras.config.backend() == "jax":
                self._move_to_shell()
        self._num_uses += 1
        try:
            yield self._model
        finally:
            self._num_uses -= 1

    def _move_to_shell(self):
        """Keeps the programs of JAX, which take weights as arguments.

        They belong to the shell, and need not be compiled each time.
        """
        move(self._model.variables, self._shell.variables)
        self._model = self._shell

    def __getattr__(self, name):
        value = getattr(self.__dict__["_shell"], name)
        if callable(value):
            raise AttributeError(
                f"A part that was loaded with `staged=True` has {WORK} only; "
                "load it by `from_preset` of its own class for the rest. "
                f"Received: {name!r} of {type(self._shell).__name__}"
            )
        return value


def _shell_of(load):
    """A model whose weights take no memory."""
    try:
        with without_values():
            return load(load_weights=False)
    except ValueError:
        if keras.config.backend() != "torch":
            raise
    # Torch quantizes no layer that has no values to round.
    shell = load(load_weights=False)
    free(shell.variables)
    return shell
