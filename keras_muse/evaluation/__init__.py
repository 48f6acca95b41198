"""How good the pictures of a model are."""

from keras_muse.lazy import lazy_names

_MODULES = {
    "PROTOCOLS": "keras_muse.evaluation.protocols",
    "Protocol": "keras_muse.evaluation.protocols",
    "evaluate": "keras_muse.evaluation.muse_scores",
    "evaluate_tokenizer": "keras_muse.evaluation.tokenizer_scores",
}

__all__ = list(_MODULES)  # noqa: PLE0604
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
