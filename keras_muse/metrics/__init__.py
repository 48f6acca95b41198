"""Metrics of training health and, later, of picture quality."""

from keras_muse.metrics.codebook_usage import CodebookPerplexity
from keras_muse.metrics.codebook_usage import CodebookUsage

__all__ = ["CodebookPerplexity", "CodebookUsage"]
