"""What `fit` and `evaluate` are given, checked before the first step.

JAX clips an index that is out of range: a wrong codebook would train, and
learn nothing.
"""

import numpy as np


def check_training_data(x, id_ranges, text_dim):
    """Refuses empty data and tokens of another codebook or text encoder.

    Args:
        x: what the user gave to `fit`: a dict of arrays, token shards, or any
            other dataset, of which only the length is checked.
        id_ranges: dict. For each input of token ids, `(part, codebook_size,
            grid_size)`, with `part` its name in the metadata of token shards.
        text_dim: int. Width of the text embeddings that are expected.
    """
    arrays = x if isinstance(x, dict) else {}
    sizes = [len(a) for a in arrays.values() if hasattr(a, "__len__")]
    if hasattr(x, "__len__") and (len(x) == 0 or 0 in sizes):
        raise ValueError(f"`x` must not be empty. Received: x={x!r}")
    metadata = getattr(x, "metadata", None)
    if metadata is not None:
        _check_stage(x.stage, id_ranges)
    for name, (part, codebook_size, grid_size) in id_ranges.items():
        if metadata is not None:
            _check_shards(metadata[part], codebook_size, grid_size)
        ids = arrays.get(name)
        if isinstance(ids, np.ndarray) and (
            ids.min() < 0 or ids.max() >= codebook_size
        ):
            raise ValueError(
                f"`{name}` must be clean tokens in [0, {codebook_size}), the "
                "codebook of the model. Received: values from "
                f"{ids.min()} to {ids.max()}"
            )
    if metadata is not None and metadata["text"]["text_dim"] != text_dim:
        raise ValueError(
            f"`x` must have texts of text_dim={text_dim}. Received: token "
            f"shards of text_dim={metadata['text']['text_dim']}"
        )


def _check_stage(stage, id_ranges):
    expected = "super_res" if "low_res_token_ids" in id_ranges else "base"
    if stage != expected:
        raise ValueError(
            f"`x` must be token shards read with stage={expected!r}. "
            f"Received: token shards of stage={stage!r}"
        )


def _check_shards(tokens, codebook_size, grid_size):
    found = (tokens["codebook_size"], tuple(tokens["grid_size"]))
    if found != (codebook_size, tuple(grid_size)):
        raise ValueError(
            f"`x` must have tokens of codebook_size={codebook_size} and "
            f"grid_size={grid_size}. Received: token shards of "
            f"codebook_size={found[0]} and grid_size={found[1]}"
        )
