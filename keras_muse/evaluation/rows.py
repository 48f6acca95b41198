"""Which rows of a data set are drawn, and what they are compared with."""

import numpy as np

# Of the draw of prompts, so that it is always the same.
_SEED = 0


def rows_to_draw(pairs, protocol):
    """The rows whose prompts are drawn: a dataset in file order.

    Args:
        pairs: what `load_image_text` or `load_emoji` returns.
        protocol: a `Protocol`.

    Raises:
        ValueError: if there are fewer rows than the protocol asks for.
    """
    wanted, there = protocol.num_prompts, pairs.num_examples
    if wanted is None:
        return pairs
    if there < wanted:
        raise ValueError(
            f"`pairs` must have the {wanted} rows that `protocol` asks for. "
            f"Received: {there} rows"
        )
    if protocol.references == "drawn":
        return pairs.select_evenly(wanted)
    draws = np.random.default_rng(_SEED)
    chosen = draws.choice(there, wanted, replace=False)
    return pairs.select(np.sort(chosen).tolist())


def picture_batches(pairs, batch_size):
    """Yields uint8 pictures and their texts, those that can be decoded."""
    for start in range(0, pairs.num_examples, batch_size):
        stop = min(start + batch_size, pairs.num_examples)
        images, texts = pairs.select(range(start, stop)).as_arrays()
        if texts:
            yield images, texts
