"""Metrics of training health and of picture quality."""

from keras_muse.lazy import lazy_names

_MODULES = {
    "CLIPScore": "keras_muse.metrics.clip_score",
    "CodebookPerplexity": "keras_muse.metrics.codebook_usage",
    "CodebookUsage": "keras_muse.metrics.codebook_usage",
    "FrechetDistance": "keras_muse.metrics.frechet_distance",
    "InceptionScore": "keras_muse.metrics.inception_score",
    "KernelDistance": "keras_muse.metrics.kernel_distance",
    "PSNR": "keras_muse.metrics.psnr",
    "PerceptualDistance": "keras_muse.metrics.perceptual_distance",
    "PrecisionRecall": "keras_muse.metrics.precision_recall",
    "RPrecision": "keras_muse.metrics.r_precision",
    "networks": "keras_muse.metrics.networks",
}

__all__ = list(_MODULES)  # noqa: PLE0604
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
