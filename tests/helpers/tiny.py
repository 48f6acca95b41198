"""Tiny models and data that the tests share; everything has a fixed seed."""

import functools

import keras
import numpy as np

import keras_muse
from keras_muse.runtime.compiled import compile_function

TEXT_LENGTH, TEXT_DIM = 5, 6
TRANSFORMER = {
    "text_dim": TEXT_DIM,
    "num_layers": 2,
    "hidden_dim": 16,
    "num_heads": 2,
    "intermediate_dim": 32,
}


def tiny_tokenizer(**changes):
    """Downsamples by 4: pictures of 16 x 16 become 4 x 4 of 16 codes."""
    config = {
        "base_channels": 8,
        "channel_multipliers": (1, 1, 2),
        "num_res_blocks": 1,
        "codebook_size": 16,
        "codebook_dim": 4,
        "num_groups": 4,
    }
    keras.utils.set_random_seed(0)
    return keras_muse.VQGANTokenizer(**{**config, **changes})


def tiny_discriminator(**kwargs):
    return keras_muse.Discriminator(4, channel_multipliers=(1, 2), **kwargs)


def tiny_base(random_weights=True, **changes):
    """4 x 4 tokens of 16 codes."""
    config = {"codebook_size": 16, "grid_size": (4, 4), **TRANSFORMER}
    keras.utils.set_random_seed(0)
    model = keras_muse.MuseBase(**{**config, **changes})
    if random_weights:
        randomize(model)
    return model


def tiny_super_res(random_weights=True, **changes):
    """8 x 4 tokens of 20 codes from 4 x 2 tokens of 16."""
    config = {
        "codebook_size": 20,
        "low_res_codebook_size": 16,
        "grid_size": (8, 4),
        "low_res_grid_size": (4, 2),
        "low_res_num_layers": 1,
        "block_size": 2,
        **TRANSFORMER,
    }
    keras.utils.set_random_seed(0)
    model = keras_muse.MuseSuperRes(**{**config, **changes})
    if random_weights:
        randomize(model)
    return model


def tiny_uvit(random_weights=True, **changes):
    """4 x 4 tokens of 16 codes, of which the transformer sees 2 x 2."""
    config = {
        "codebook_size": 16,
        "grid_size": (4, 4),
        "text_length": TEXT_LENGTH,
        "stage_dim": 8,
        "stage_num_blocks": 1,
        "stage_num_heads": 2,
        "condition_dim": 4,
        "downsample": True,
        **TRANSFORMER,
    }
    keras.utils.set_random_seed(0)
    model = keras_muse.UViTBase(**{**config, **changes})
    if random_weights:
        randomize(model)
        generator = np.random.default_rng(9)
        model.set_empty_text(generator.standard_normal(model.empty_text.shape))
    return model


def randomize(model, scale=0.4, seed=0):
    """Moves all weights of a young model, also those that start at zero."""
    generator = np.random.default_rng(seed)
    for weight in model.trainable_variables:
        noise = scale * generator.standard_normal(weight.shape)
        weight.assign(keras.ops.convert_to_numpy(weight) + noise)


def tiny_images(num_images=8, size=16):
    """uint8 pictures: a disk of one colour on a ground of another."""
    generator = np.random.default_rng(1)
    height, width = size if isinstance(size, tuple) else (size, size)
    rows, columns = np.mgrid[0:height, 0:width]
    images = np.empty((num_images, height, width, 3), "uint8")
    for image in images:
        y, x = generator.uniform(0.3, 0.7, 2) * (height, width)
        disk = (rows - y) ** 2 + (columns - x) ** 2 < (height / 4) ** 2
        ground, colour = generator.integers(0, 256, (2, 3))
        image[...] = np.where(disk[..., None], colour, ground)
    return images


def tiny_text(batch=4, seed=0):
    """Texts of 2, 3, 4, ... tokens, padded to the same length."""
    generator = np.random.default_rng(seed)
    shape = (batch, TEXT_LENGTH, TEXT_DIM)
    lengths = 2 + np.arange(batch) % (TEXT_LENGTH - 1)
    return {
        "text_embeddings": generator.standard_normal(shape).astype("float32"),
        "text_mask": np.arange(TEXT_LENGTH) < lengths[:, None],
    }


def tiny_ids(model, batch=4, seed=0):
    """Clean tokens of a model, and the low-resolution ones if it reads any."""
    generator = np.random.default_rng(seed)
    shape = (batch, model.num_tokens)
    ids = {"token_ids": generator.integers(0, model.codebook_size, shape)}
    if isinstance(model, keras_muse.MuseSuperRes):
        ids["low_res_token_ids"] = generator.integers(
            0, model.low_res_codebook_size, (batch, *model.low_res_grid_size)
        )
    return {name: value.astype("int32") for name, value in ids.items()}


def tiny_data(model, batch=4, seed=0):
    """What `fit` of a masked-token model takes."""
    return {**tiny_ids(model, batch, seed), **tiny_text(batch, seed)}


def call(model, *inputs, function=lambda model, *inputs: model(*inputs)):
    """`function(model, *inputs)` as one program, on JAX.

    Run as it stands, each operation on each shape is a program there, which
    makes hundreds of a tiny model; the other backends compile none.
    """
    return _program(model, function)(*inputs)


@functools.lru_cache(maxsize=4)
def _program(model, function):
    bound = functools.partial(function, model)
    if keras.config.backend() != "jax":
        return bound
    return compile_function(model, bound)


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)
