"""Frozen feature networks that the metrics use.

Each is resolved on first use, so that one does not bring the imports of all.
"""

from keras_muse.lazy import lazy_names

_PACKAGE = "keras_muse.metrics.networks"
_MODULES = {
    "CLIPScorer": "keras_muse.scorers.clip_scorer",
    "EfficientNetLite0": f"{_PACKAGE}.efficientnet_lite0",
    "FIDInception": f"{_PACKAGE}.fid_inception",
    "PerceptualFeatures": f"{_PACKAGE}.perceptual_features",
}

__all__ = list(_MODULES)  # noqa: PLE0604
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
