"""Whether a text encoder is the one that token shards were written with."""

import numpy as np
from keras import ops

from keras_muse.data.token_shards.stored import StoredRecords

# Of the states, relative: bfloat16 or int8 stay below it, other weights of the
# same architecture give about 1.
_LARGEST_DIFFERENCE = 0.3


def check_same_texts(directory, metadata, text_encoder):
    """Raises unless the encoder makes of a caption what the shards hold.

    Args:
        directory: string.
        metadata: dict, that of the shards.
        text_encoder: a text encoder.
    """
    [record] = StoredRecords(directory, metadata).read([0])
    caption, stored = record["captions"][0], record["texts"][0]
    if metadata["text"]["store"] == "text_ids":
        tokens = text_encoder.tokenize([caption])
        made, mask = tokens["token_ids"], tokens["padding_mask"]
    else:
        made, mask = text_encoder.encode([caption])
    made = ops.convert_to_numpy(made)[ops.convert_to_numpy(mask)]
    if not _is_same(made.astype("float32"), stored.astype("float32")):
        raise ValueError(
            "`text_encoder` must be the one that the shards were written "
            f"with: of {caption!r} it makes something else than what they "
            f"hold. Received: text_encoder={text_encoder}"
        )


def _is_same(made, stored):
    if made.shape != stored.shape:
        return False
    if made.ndim == 1:  # ids
        return np.array_equal(made, stored)
    difference = np.linalg.norm(made - stored) / np.linalg.norm(stored)
    return difference < _LARGEST_DIFFERENCE
