"""Embeddings of pictures and their texts, from a scorer."""

import numpy as np
from keras import ops

from keras_muse.metrics.picture_batches import check_captioned
from keras_muse.runtime.checks import show


def check_scorer(scorer):
    """Refuses what has no embeddings of pictures and texts."""
    for method in ("image_embeddings", "text_embeddings"):
        if not callable(getattr(scorer, method, None)):
            raise ValueError(
                f"`scorer` must have a method `{method}`. "
                f"Received: scorer={show(scorer)}"
            )


def paired_embeddings(scorer, images, texts):
    """Unit-length embeddings of pictures and of a text for each.

    Args:
        scorer: object with `image_embeddings(images)` and
            `text_embeddings(texts)`.
        images: pictures of shape `(batch, height, width, 3)`.
        texts: strings, one per picture.

    Returns:
        Two float64 arrays of shape `(batch, embedding_dim)`, and the texts as
        a list.
    """
    if isinstance(texts, str):
        raise ValueError(
            "`texts` must be a list of strings, one per picture. "
            f"Received: texts={texts!r}"
        )
    images, texts = check_captioned(images, texts)
    of_images = _unit_length(scorer.image_embeddings(images))
    of_texts = _unit_length(scorer.text_embeddings(texts))
    if of_images.shape != of_texts.shape or len(of_images) != len(texts):
        raise ValueError(
            "`scorer` must give embeddings of shape (batch, embedding_dim), "
            f"equally long for pictures and texts. Received: shapes "
            f"{of_images.shape} and {of_texts.shape} for {len(texts)} of each"
        )
    return of_images, of_texts, texts


def _unit_length(embeddings):
    # Normalized again in float64: scorers do it in float32, so that
    # lengths are only near 1.
    embeddings = np.asarray(ops.convert_to_numpy(embeddings), "float64")
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(
            "`scorer` must give finite embeddings that are not zero. "
            f"Received: embeddings of lengths {lengths.ravel()}"
        )
    return embeddings / lengths
