"""Losses of rows that were not trained on, and what is normal of them."""

import dataclasses
import math

import numpy as np

from keras_muse.runtime.batches import num_local_replicas

BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Losses:
    """Masked cross-entropies of one model.

    Attributes:
        loss: float. Of some rows.
        shuffled: float. Of the same rows under each other's captions.
        uniform: float. Of giving all codes the same probability.
        of_training: float or `None`. Of rows that were trained on.
        is_held_out: bool. Whether those of `loss` never were.
    """

    loss: float
    shuffled: float
    uniform: float
    of_training: float | None = None
    is_held_out: bool = True

    @property
    def reads_captions(self):
        """bool. Whether the right captions help, beyond what is chance."""
        return self.loss < self.shuffled - 0.02

    @property
    def knows_by_heart(self):
        """bool. Whether it does much better where it was trained."""
        if self.of_training is None:
            return False
        return self.loss > self.of_training + 0.15 * self.uniform

    def __str__(self):
        held_out = "held-out " if self.is_held_out else ""
        words = (
            f"{held_out}loss {self.loss:.2f}; with the captions shuffled "
            f"{self.shuffled:.2f}; uniform guessing {self.uniform:.2f}"
        )
        if self.of_training is None:
            return words
        return f"{words}; of pictures trained on {self.of_training:.2f}"


def measure(model, rows, training_rows=None, seed=0, is_held_out=True):
    """The losses of a compiled model.

    Args:
        model: a `MaskedTokenModel`.
        rows: dict of arrays, as `fit` of the model takes them.
        training_rows: the same of rows that were trained on, or `None`.
        seed: int. Seed of the shuffling.
        is_held_out: bool. Whether `rows` are never trained on.
    """

    devices = num_local_replicas()
    batch_size = -(-BATCH_SIZE // devices) * devices

    def loss(x):
        return model.evaluate(
            _shared(x, devices),
            batch_size=batch_size,
            verbose=0,
            return_dict=True,
        )["loss"]

    order = np.random.default_rng(seed).permutation(len(rows["token_ids"]))
    texts = ("text_embeddings", "text_mask")
    shuffled = {**rows, **{name: rows[name][order] for name in texts}}
    return Losses(
        loss(rows),
        loss(shuffled),
        math.log(model.codebook_size),
        None if training_rows is None else loss(training_rows),
        is_held_out,
    )


def _shared(rows, devices):
    """As many rows as devices can share: where some lack, the first again."""
    if devices == 1:
        return rows
    num_rows = len(rows["token_ids"])
    order = np.resize(np.arange(num_rows), -(-num_rows // devices) * devices)
    return {name: values[order] for name, values in rows.items()}


def token_rows(pairs, size, tokenizer, text_encoder, large_size=None):
    """Rows as `measure` takes them, of pictures as they are.

    Args:
        pairs: an `ImageTextDataset`.
        size: int. Pixels a side of the pictures that become tokens.
        tokenizer: a `VQGANTokenizer`.
        text_encoder: a `TextEncoder`.
        large_size: int or `None`. Of the pictures whose tokens are predicted
            by super-resolution, from those of `size`.
    """
    images, texts = pairs.resized(size).as_arrays()
    embeddings, mask = text_encoder.encode(texts)
    rows = {
        "token_ids": tokenizer.encode(images),
        "text_embeddings": np.asarray(embeddings),
        "text_mask": np.asarray(mask),
    }
    if large_size is not None:
        large, _ = pairs.resized(large_size).as_arrays()
        rows["low_res_token_ids"] = rows["token_ids"]
        rows["token_ids"] = tokenizer.encode(large)
    return rows


def in_words(losses):
    """Whether losses are normal, and what to do where they are not."""
    # First: one that knows them by heart can be worse than guessing elsewhere.
    if losses.knows_by_heart:
        return (
            "It knows the pictures of the training by heart, others much "
            "less: normal of few pictures. More of them help, more minutes "
            "do not."
        )
    if losses.loss > 0.97 * losses.uniform:
        return (
            "Not better than guessing: it has learned next to nothing. Give "
            "it more minutes."
        )
    if not losses.reads_captions:
        return (
            "It knows the look of the pictures, but not which caption means "
            "what: normal of a short training, of captions that say little, "
            "and of few pictures. More of them, and more minutes, help."
        )
    part = losses.loss / losses.uniform
    return (
        f"Normal: {part:.0%} of guessing, and the right captions help by "
        f"{losses.shuffled - losses.loss:.2f}. Good models end at 20 % of "
        "guessing, where backgrounds are plain, to 70 %; none comes near 0."
    )
