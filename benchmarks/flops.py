"""Useful arithmetic of the package's models, counted from their sizes.

Matrix products, convolutions and attention count, two FLOPs for each product
of numbers with its addition. What goes element by element does not (norms,
activations, softmax, sampling, the optimizer), nor what is computed a second
time to save memory.
"""

import math


def generate_flops(model, batch, text_length, num_steps):
    """Of `generate` with guidance in each step.

    Guidance doubles the rows, with the text and without; the head comes after
    their mixture. The context is computed once for all steps.
    """
    once = 2 * batch * context_flops(model, text_length)
    step = 2 * batch * features_flops(model, text_length)
    return once + num_steps * (step + batch * head_flops(model))


def train_flops(model, batch, text_length):
    """Of a step of `fit`: each product has two more in the backward pass."""
    forward = (
        context_flops(model, text_length)
        + features_flops(model, text_length)
        + head_flops(model)
    )
    return 3 * batch * forward


# === Parts of a transformer, for one row of a batch ===


def features_flops(model, text_length):
    """The layers over the image tokens, and the dense layer after them."""
    n, d = model.num_tokens, model.hidden_dim
    # Self-attention has four matrices, attention to the context two here: its
    # keys and values are `context_flops`.
    weights = 6 * d * d + mlp_weights(model)
    layer = (
        2 * n * weights
        + attention_flops(n, keys_of_a_token(model), d)
        + attention_flops(n, context_length(model, text_length), d)
    )
    return model.num_layers * layer + 2 * n * d * d


def head_flops(model):
    """Features to logits."""
    return 2 * model.num_tokens * model.hidden_dim * model.codebook_size


def context_flops(model, text_length):
    """What is attended to, and its keys and values in each layer."""
    d = model.hidden_dim
    text = 2 * text_length * model.text_dim * d
    keys_and_values = 2 * context_length(model, text_length) * 2 * d * d
    return text + low_res_flops(model) + model.num_layers * keys_and_values


def low_res_flops(model):
    """The layers of super-resolution over the low-resolution tokens."""
    if not has_low_res(model):
        return 0
    n, d = math.prod(model.low_res_grid_size), model.hidden_dim
    weights = 4 * d * d + mlp_weights(model)
    layer = 2 * n * weights + attention_flops(n, n, d)
    return model.low_res_num_layers * layer


def context_length(model, text_length):
    """Tokens of the text, then those of the low-resolution picture."""
    if not has_low_res(model):
        return text_length
    return text_length + math.prod(model.low_res_grid_size)


def has_low_res(model):
    return hasattr(model, "low_res_grid_size")


def keys_of_a_token(model):
    """How many keys an image token has in self-attention, a mean of its heads.

    In multi-axis attention half of the heads see the tokens of the block, the
    other half one token of each block.
    """
    if model.block_size is None:
        return model.num_tokens
    in_block = model.block_size**2
    return (in_block + model.num_tokens / in_block) / 2


def mlp_weights(model):
    matrices = 3 if model.use_gated_activation else 2
    return matrices * model.hidden_dim * model.intermediate_dim


def attention_flops(queries, keys, dim):
    """Scores, and sums of values, over all heads."""
    return 2 * (2 * queries * keys * dim)


# === Tokenizers ===


def reconstruct_flops(tokenizer, images_shape):
    """Pictures to tokens and back; a vector is compared with every code."""
    batch, height, width, _ = images_shape
    factor = tokenizer.downsampling_factor
    grid_shape = (batch, height // factor, width // factor)
    vectors = math.prod(grid_shape)
    codes = tokenizer.codebook_size * tokenizer.codebook_dim
    return (
        convolution_flops(tokenizer.encoder, images_shape)
        + 2 * vectors * codes
        + decode_flops(tokenizer, grid_shape)
    )


def decode_flops(tokenizer, grid_shape):
    """Tokens of shape `(batch, height, width)` to pictures."""
    shape = (*grid_shape, tokenizer.codebook_dim)
    return convolution_flops(tokenizer.decoder, shape)


def convolution_flops(network, shape):
    """Convolutions of an encoder or decoder whose input is of `shape`.

    Each kernel is applied at each place of its output, and all outputs inside
    a stage have the places of the stage's. Attention, which the paper's
    tokenizers do not have, is left out.
    """
    flops = 0
    for stage in network.stages:
        shape = stage.compute_output_shape(shape)
        kernels = [w for w in stage.weights if w.name == "kernel"]
        places = math.prod(shape[:3])  # batch, height, width
        flops += sum(2 * places * math.prod(w.shape) for w in kernels)
    return flops
