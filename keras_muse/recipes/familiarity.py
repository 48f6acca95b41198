"""How well a trained model knows pictures that it never saw."""

import dataclasses

from keras_muse.metrics.perceptual_distance import PerceptualDistance
from keras_muse.ops.images import to_pixels
from keras_muse.recipes.losses import Losses
from keras_muse.recipes.losses import measure
from keras_muse.recipes.losses import token_rows

NUM_ROWS = 64
# LPIPS of the round trip through tokens: up to here nothing is gained by
# training the tokenizer that the base would show.
GOOD_DISTANCE = 0.11
# A base is worth starting from where it is this much better than guessing and
# knows what captions mean.
GOOD_PART = 0.8


@dataclasses.dataclass(frozen=True)
class Familiarity:
    """How well a preset knows pictures.

    Attributes:
        distance: float. LPIPS between pictures and their reconstructions.
        losses: `Losses` of its base, or `None` where the tokens are too bad
            to ask.
    """

    distance: float
    losses: Losses | None

    @property
    def has_good_tokens(self):
        return self.distance <= GOOD_DISTANCE

    @property
    def has_good_base(self):
        losses = self.losses
        return (
            losses is not None
            and losses.reads_captions
            and losses.loss < GOOD_PART * losses.uniform
        )


def familiarity_of(pairs, size, tokenizer, text_encoder=None, base=None):
    """Shows pictures to a trained tokenizer, and to a base of its tokens.

    Args:
        pairs: an `ImageTextDataset`.
        size: int. Pixels a side.
        tokenizer: a `VQGANTokenizer`.
        text_encoder, base: those of a `Muse`, or `None` to ask of the
            tokenizer alone.

    Returns:
        A `Familiarity`.
    """
    pairs = pairs.select_evenly(NUM_ROWS)
    familiarity = Familiarity(distance(pairs, size, tokenizer), None)
    if base is None or not familiarity.has_good_tokens:
        return familiarity
    base.compile()
    rows = token_rows(pairs, size, tokenizer, text_encoder)
    return dataclasses.replace(familiarity, losses=measure(base, rows))


def distance(pairs, size, tokenizer):
    """Mean LPIPS between pictures and what is left of them as tokens."""
    images, _ = pairs.resized(size).as_arrays()
    metric = PerceptualDistance()
    metric.update_state(
        images, to_pixels(tokenizer.decode(tokenizer.encode(images)))
    )
    return float(metric.result())
