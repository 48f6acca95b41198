"""Published weights to the models of this package.

`from_preset` of each model finds the right converter by itself. A converter is
a table of names: it refuses a file in which a tensor is missing, has no place
or does not fit.
"""

from keras_muse.lazy import lazy_names

_MODULES = {
    "convert": "keras_muse.commands.conversion",
    "report": "keras_muse.converters.parity",
}

__all__ = list(_MODULES)  # noqa: PLE0604
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
