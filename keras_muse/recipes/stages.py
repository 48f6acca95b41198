"""How each model of a cascade is trained, by the clock."""

import keras
import numpy as np

from keras_muse.data.decoding import resize
from keras_muse.data.token_shards.read import read_token_shards
from keras_muse.data.token_shards.records import read_metadata
from keras_muse.losses.lpips import LPIPS
from keras_muse.recipes.patches import Patches
from keras_muse.runtime.devices import on_processor

FOREVER = 10**6  # epochs: the clock ends a training
STEPS = 100  # an epoch, however few the pictures are
MOST_BYTES = 2**30  # of pictures in memory, for a tokenizer
# What is tokenized and cut in patches is this much larger than the base's.
ENLARGED = 1.25


# === Tokenizer ===


def tokenizer_arrays(pairs, image_size, base_image_size):
    """Pictures for `Patches`: small ones, and the same larger.

    Args:
        pairs: an `ImageTextDataset`.
        image_size, base_image_size: ints. Where they are equal, the larger
            ones are somewhat larger than either.
    """
    size = image_size
    if size == base_image_size:
        size = int(ENLARGED * base_image_size)
    large, _ = (
        pairs.select_evenly(MOST_BYTES // (3 * size * size))
        .resized(size)
        .as_arrays()
    )
    return resize(large, (base_image_size, base_image_size)), large


def tokenizer_batch_size(size):
    """Pictures of a side of `size` pixels in a step."""
    if not on_processor():
        return 128
    return max(8, 64 * 32**2 // size**2 // 2 * 2)


def train_tokenizer(
    tokenizer, pairs, image_size, base_image_size, budget, seed
):
    """Trains a tokenizer on small pictures and parts of larger ones.

    Args:
        tokenizer: a `VQGANTokenizer`.
        pairs, image_size, base_image_size: as in `tokenizer_arrays`.
        budget: a `TimeBudget`.
        seed: int.
    """
    compile_tokenizer(tokenizer, base_image_size)
    if budget.restore(tokenizer):
        return
    small, large = tokenizer_arrays(pairs, image_size, base_image_size)
    batch_size = tokenizer_batch_size(base_image_size)
    tokenizer.fit(
        Patches(small, large, batch_size, STEPS, seed),
        epochs=FOREVER,
        verbose=0,
        callbacks=[budget],
    )


def compile_tokenizer(tokenizer, size):
    """Sets a tokenizer up for pictures of a side of `size` pixels."""
    tokenizer.compile(
        keras.optimizers.Adam(beta_2=0.99),
        reconstruction="l1",
        perceptual=LPIPS(min_size=min(64, max(32, size))),
        perceptual_weight=0.25,
        adversarial_weight=0,
        commitment_weight=0.5,
        entropy_weight=0,
    )


# === Transformers ===


def transformer_batch_size(num_tokens, num_records):
    """Rows in a step."""
    most = 2**11 if on_processor() else 2**15  # tokens
    return int(np.clip(most // num_tokens, 8, min(256, num_records)))


# What makes a small base learn faster (benchmarks/results/ablations.md).
FASTER = {"mask_schedule": "arccos", "visible_loss_weight": 0.2}


def compile_transformer(model, **options):
    """Sets up a base or a super-resolution model.

    Args:
        model: the model.
        **options: of its `compile`.
    """
    optimizer = keras.optimizers.AdamW(
        weight_decay=0.02, beta_2=0.97, global_clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(
        var_names=["gamma", "beta", "bias", "positions", "embedding"]
    )
    model.compile(optimizer, **options)


def train_transformer(model, directory, stage, budget, seed, callbacks=()):
    """Trains a base or a super-resolution model on token shards.

    Args:
        model: compiled by `compile_transformer`.
        directory: string. What `write_token_shards` wrote.
        stage: `"base"` or `"super_res"`.
        budget: a `TimeBudget`.
        seed: int.
        callbacks: more callbacks.
    """
    if budget.restore(model):
        return
    batches = read_token_shards(
        directory,
        transformer_batch_size(
            model.num_tokens, read_metadata(directory)["num_records"]
        ),
        stage,
        seed=seed,
        # Of few pictures many passes are an epoch: each pass is too short.
        steps_per_epoch=STEPS,
    )
    batches.step = int(model.optimizer.iterations)
    model.fit(
        batches,
        epochs=FOREVER,
        verbose=0,
        callbacks=[budget, *callbacks],
    )
