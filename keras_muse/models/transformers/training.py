"""What training a masked-token model takes: masks, scores, checks of data."""

import keras
from keras import ops

from keras_muse.losses.masked_cross_entropy import is_best_guess
from keras_muse.losses.masked_cross_entropy import token_cross_entropy
from keras_muse.ops import masking
from keras_muse.ops import noise
from keras_muse.ops.parts import map_parts
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.inputs import check_data

MAX_LOGITS = 2**27  # of a batch at a time: 512 MiB


def mask_tokens(inputs, seeds, mask_token_id, mask_schedule, text_dropout):
    """Masks the tokens of a batch, and drops some texts.

    Args:
        inputs: dict as the model takes it, of clean tokens `"token_ids"`,
            int32 of shape `(batch, num_tokens)`.
        seeds: int32 tensor of shape `(batch,)`; all that is random follows
            from them.
        mask_token_id: int.
        mask_schedule: string, see `masking.random_mask_ratio`.
        text_dropout: float in [0, 1]. Part of the rows whose text is hidden.

    Returns:
        The dict with `"token_ids"` and `"text_mask"` changed, and with
        `"clean_token_ids"`; `"mask"`, bool of shape `(batch, num_tokens)`; and
        `"mean_masked"`, float32 of shape `(batch, 1)`, how many tokens are
        masked in a row of the batch on average.
    """
    token_ids = inputs["token_ids"]
    mask = masking.random_mask(
        noise.uniform(seeds, noise.MASK_RATIO_STREAM),
        noise.uniform(
            seeds, noise.MASK_ORDER_STREAM, num_positions=token_ids.shape[1]
        ),
        mask_schedule,
    )
    num_masked = ops.sum(ops.cast(mask, "float32"), axis=1, keepdims=True)
    inputs = {
        **inputs,
        "token_ids": ops.where(mask, mask_token_id, token_ids),
        "clean_token_ids": token_ids,
        "mask": mask,
        # Each row tells it, also to those who get a part of the batch.
        "mean_masked": ops.ones_like(num_masked) * ops.mean(num_masked),
    }
    if text_dropout:
        chance = noise.uniform(seeds, noise.TEXT_DROPOUT_STREAM)
        inputs["text_mask"] = ops.logical_and(
            ops.cast(inputs["text_mask"], "bool"),
            chance >= text_dropout,  # (batch, 1): whole rows
        )
    return inputs


def draw_seeds(seed_generator, token_ids):
    """A seed for each row of a training step, int32 of shape `(batch,)`."""
    seed = ops.cast(seed_generator.next(), "int32")
    rows = ops.arange(ops.shape(token_ids)[0], dtype="int32")
    return noise.threefry((seed[0], seed[1]), (rows, 0))[0]


def score_tokens(model, features, token_ids, label_smoothing):
    """Cross-entropy and whether the best guess is right, of each token.

    Where the logits of the batch are many, they are formed for a part of the
    tokens at a time, and again in the backward pass.

    Args:
        model: a `MaskedTokenModel`.
        features: float tensor of shape `(batch, num_tokens, hidden_dim)`.
        token_ids: int tensor of shape `(batch, num_tokens)`.
        label_smoothing: float.

    Returns:
        Two float32 tensors of shape `(batch, num_tokens)`.
    """

    def score(features, token_ids):
        logits = model.head(features)  # (batch, part of tokens, codebook_size)
        return (
            token_cross_entropy(token_ids, logits, label_smoothing),
            is_best_guess(token_ids, logits),
        )

    num_parts = 1
    # TensorFlow hands no gradients to the weights of a loop's body.
    if keras.config.backend() != "tensorflow":
        num_logits = len(features) * model.num_tokens * model.codebook_size
        num_parts = min(-(-num_logits // MAX_LOGITS), model.num_tokens)
    if num_parts > 1:
        score = keras.remat(score)
    return map_parts(
        lambda part, _: score(*part),
        (features, token_ids),
        num_parts,
        axis=1,
    )


def recompute_layer(layer, x, context=None, context_mask=None):
    """Calls a layer of which the backward pass keeps nothing but the input.

    Args:
        layer: a `TransformerLayer`.
        x: tensor of shape `(batch, num_tokens, hidden_dim)`.
        context: tensor of shape `(batch, num_keys, hidden_dim)`, or `None` for
            a layer without cross-attention. Not yet projected.
        context_mask: bool tensor of shape `(batch, num_keys)`.

    Returns:
        The output of the layer.
    """
    if context is None:
        return keras.remat(lambda x: layer(x))(x)

    # TensorFlow hands gradients to arguments only, and takes no bool as one.
    def call(x, context):
        return layer(x, layer.project_context(context), context_mask)

    return keras.remat(call)(x, context)


def flatten_grid(token_ids, grid_size, argument):
    """Brings ids, given flat or as a grid, to `(batch, num_tokens)`."""
    height, width = grid_size
    shape = tuple(token_ids.shape[1:])
    if shape not in ((height * width,), (height, width)):
        raise ValueError(
            f"`{argument}` must be of shape (batch, {height * width}) or "
            f"(batch, {height}, {width}). Received: {argument}.shape="
            f"{tuple(token_ids.shape)}"
        )
    return ops.reshape(ops.cast(token_ids, "int32"), (-1, height * width))


# === Checks, before the first step ===


def check_accumulation(steps, optimizer):
    """Refuses gradients that are accumulated in two places."""
    steps = check_int(steps, "gradient_accumulation_steps")
    of_optimizer = getattr(optimizer, "gradient_accumulation_steps", None)
    if steps > 1 and of_optimizer:
        raise ValueError(
            "`gradient_accumulation_steps` cannot be given to the optimizer "
            "too, where it would save no memory. Received: "
            f"gradient_accumulation_steps={steps}, and {of_optimizer} of "
            f"{type(optimizer).__name__}"
        )
    return steps


def check_training_data(x, argument, inputs, id_ranges, text_dim):
    """Refuses empty data and tokens of another codebook or text encoder.

    JAX clips an index that is out of range: a wrong codebook would train, and
    learn nothing.

    Args:
        x: what the user gave to `fit`: a dict of arrays, token shards, or any
            other dataset, of which the first batch is checked.
        argument: string. What it is called there.
        inputs: dict of `Input`.
        id_ranges: dict. For each input of token ids, `(part, codebook_size,
            grid_size)`, with `part` its name in the metadata of token shards.
        text_dim: int. Width of the text embeddings that are expected.
    """
    if hasattr(x, "metadata"):
        _check_shards(x, argument, id_ranges, text_dim)
    else:
        check_data(x, inputs, argument)
    if _num_batches(x) == 0:
        raise ValueError(
            f"`{argument}` must not be empty. Received: {argument} of type "
            f"{type(x).__name__} without a batch"
        )


def _num_batches(dataset):
    """Batches of a dataset, or `None` where it does not know."""
    try:
        return len(dataset)
    except TypeError:
        return None


def _check_shards(x, argument, id_ranges, text_dim):
    expected = "super_res" if "low_res_token_ids" in id_ranges else "base"
    if x.stage != expected:
        raise ValueError(
            f"`{argument}` must be token shards read with stage={expected!r}. "
            f"Received: token shards of stage={x.stage!r}"
        )
    for part, codebook_size, grid_size in id_ranges.values():
        tokens = x.metadata[part]
        found = (tokens["codebook_size"], tuple(tokens["grid_size"]))
        if found != (codebook_size, tuple(grid_size)):
            raise ValueError(
                f"`{argument}` must have tokens of codebook_size="
                f"{codebook_size} and grid_size={grid_size}. Received: token "
                f"shards of codebook_size={found[0]} and grid_size={found[1]}"
            )
    found = x.metadata["text"]["text_dim"]
    if found != text_dim:
        raise ValueError(
            f"`{argument}` must have texts of text_dim={text_dim}. Received: "
            f"token shards of text_dim={found}"
        )
