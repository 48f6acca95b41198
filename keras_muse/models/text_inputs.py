"""Text embeddings as they come from users, checked."""

import numpy as np


def check_text(text_embeddings, text_mask, text_dim, prefix=""):
    """Checks a text and returns it as the inputs of a model."""
    embeddings = np.asarray(text_embeddings, "float32")
    mask = np.asarray(text_mask, "bool")
    if embeddings.ndim != 3 or embeddings.shape[-1] != text_dim:
        raise ValueError(
            f"`{prefix}text_embeddings` must be of shape (batch, text_length, "
            f"{text_dim}). Received: shape={embeddings.shape}"
        )
    if len(embeddings) == 0:
        raise ValueError(
            f"`{prefix}text_embeddings` must not be empty. Received: shape="
            f"{embeddings.shape}"
        )
    if mask.shape != embeddings.shape[:2]:
        raise ValueError(
            f"`{prefix}text_mask` must be of shape (batch, text_length) = "
            f"{embeddings.shape[:2]}. Received: shape={mask.shape}"
        )
    return {"text_embeddings": embeddings, "text_mask": mask}


def check_negative_text(inputs, embeddings, mask, text_dim):
    """The text of the unconditional half: none, or the negative one."""
    if embeddings is None:
        return {
            "text_embeddings": np.zeros_like(inputs["text_embeddings"]),
            "text_mask": np.zeros_like(inputs["text_mask"]),
        }
    negative = check_text(embeddings, mask, text_dim, "negative_")
    for name, value in negative.items():
        if value.shape != inputs[name].shape:
            raise ValueError(
                f"`negative_{name}` must have the shape of `{name}`, "
                f"{inputs[name].shape}. Received: shape={value.shape}"
            )
    return negative
